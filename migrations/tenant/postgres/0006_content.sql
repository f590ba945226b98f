-- What is kept of resources: one row a version, its key wrapped under its person's key, or the organization's where `subject` is empty.
CREATE TABLE content (
  version TEXT NOT NULL PRIMARY KEY,
  resource TEXT NOT NULL,
  from_index BIGINT NOT NULL,
  to_index BIGINT,
  subject TEXT NOT NULL,
  wrapped BYTEA NOT NULL,
  key_check BYTEA NOT NULL,
  -- What it is, and the content itself where it is short; else that lies on the shelf under the version's name.
  body BYTEA NOT NULL,
  shelved BIGINT NOT NULL
);
CREATE INDEX content_by_resource ON content (resource, from_index);
CREATE INDEX content_by_subject ON content (subject);

-- Versions that are no more, and still lie on the shelf: their keys are gone already.
CREATE TABLE content_gone (
  version TEXT NOT NULL PRIMARY KEY
);

-- The shelf: sealed bytes, cut into pieces; in a folder beside SQLite they are files.
CREATE TABLE content_piece (
  version TEXT NOT NULL,
  number BIGINT NOT NULL,
  bytes BYTEA NOT NULL,
  PRIMARY KEY (version, number)
);
ALTER TABLE content_piece ALTER COLUMN bytes SET STORAGE EXTERNAL;
ALTER TABLE content ALTER COLUMN body SET STORAGE EXTERNAL;

-- Pieces that no version names yet: when the last came, in microseconds since 1970. One that stays silent is taken away.
CREATE TABLE content_upload (
  version TEXT NOT NULL PRIMARY KEY,
  touched_at BIGINT NOT NULL
);
