-- Keys of the log's segments, each from an index on, wrapped by the records key: a rotation of that rewrites no segment.
CREATE TABLE epoch (
  version BIGINT NOT NULL PRIMARY KEY,
  first_index BIGINT NOT NULL,
  wrapped BYTEA NOT NULL,
  key_check BYTEA NOT NULL
);

-- Rotations that are under way, and how far what lies under the old version has been sealed anew.
CREATE TABLE rotation (
  purpose TEXT NOT NULL PRIMARY KEY,
  old_version BIGINT NOT NULL,
  new_version BIGINT NOT NULL,
  step BIGINT NOT NULL,
  after_text TEXT NOT NULL,
  after_number BIGINT NOT NULL
);

-- Counts every change of the keys: whoever holds the head's lock sees whether the keys in memory are those in force.
ALTER TABLE head ADD COLUMN keys_version BIGINT NOT NULL DEFAULT 0;
-- Which version of the blind index a reply is found by.
ALTER TABLE idempotency ADD COLUMN key_version BIGINT NOT NULL DEFAULT 1;
