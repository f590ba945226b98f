-- What is kept of resources: one row a version, its key wrapped under its person's key, or the organization's where `subject` is empty.
CREATE TABLE content (
  version TEXT NOT NULL PRIMARY KEY,
  resource TEXT NOT NULL,
  from_index INTEGER NOT NULL,
  to_index INTEGER,
  subject TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL,
  -- What it is, and the content itself where it is short; else that lies on the shelf under the version's name.
  body BLOB NOT NULL,
  shelved INTEGER NOT NULL
) STRICT;
CREATE INDEX content_by_resource ON content (resource, from_index);
CREATE INDEX content_by_subject ON content (subject);

-- Versions that are no more, and still lie on the shelf: their keys are gone already.
CREATE TABLE content_gone (
  version TEXT NOT NULL PRIMARY KEY
) STRICT;
