-- Keys of the log's segments, each from an index on, wrapped by the records key: a rotation of that rewrites no segment.
CREATE TABLE epoch (
  version INTEGER NOT NULL PRIMARY KEY,
  first_index INTEGER NOT NULL,
  wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL
) STRICT;

-- Rotations that are under way, and how far what lies under the old version has been sealed anew.
CREATE TABLE rotation (
  purpose TEXT NOT NULL PRIMARY KEY,
  old_version INTEGER NOT NULL,
  new_version INTEGER NOT NULL,
  step INTEGER NOT NULL,
  after_text TEXT NOT NULL,
  after_number INTEGER NOT NULL
) STRICT;

-- Counts every change of the keys: whoever holds the head's lock sees whether the keys in memory are those in force.
ALTER TABLE head ADD COLUMN keys_version INTEGER NOT NULL DEFAULT 0;
-- Which version of the blind index a reply is found by.
ALTER TABLE idempotency ADD COLUMN key_version INTEGER NOT NULL DEFAULT 1;
