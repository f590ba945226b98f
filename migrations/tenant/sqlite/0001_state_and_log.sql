-- Who this database belongs to.
CREATE TABLE tenant (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  key_check BLOB NOT NULL
) STRICT;

-- Data keys, wrapped by the tenant key.
CREATE TABLE data_key (
  purpose TEXT NOT NULL,
  version INTEGER NOT NULL,
  wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL,
  PRIMARY KEY (purpose, version)
) STRICT;

-- A key for each person, wrapped by the subject-wrap key: forgetting somebody destroys theirs.
CREATE TABLE subject_key (
  subject TEXT NOT NULL PRIMARY KEY,
  wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL
) STRICT;

-- The end of the log: its row lock orders everything.
CREATE TABLE head (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  size INTEGER NOT NULL,
  frontier BLOB NOT NULL,
  last_change INTEGER NOT NULL,
  last_time INTEGER NOT NULL,
  checkpoint TEXT NOT NULL
) STRICT;

-- One row a batch: sealed leaves, sealed parts, and the leaf hashes, which are public.
CREATE TABLE segment (
  first_index INTEGER NOT NULL PRIMARY KEY,
  entries INTEGER NOT NULL,
  leaves BLOB NOT NULL,
  parts BLOB NOT NULL,
  hashes BLOB NOT NULL
) STRICT;

-- Full hash tiles of 256, written when they fill up.
CREATE TABLE tile (
  level INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (level, number)
) STRICT;

-- Everything that changes, by the log index at which it took effect and the one at which it stopped.
CREATE TABLE state (
  id TEXT NOT NULL,
  from_index INTEGER NOT NULL,
  to_index INTEGER,
  body BLOB NOT NULL,
  PRIMARY KEY (id, from_index)
) STRICT;
CREATE INDEX state_by_from ON state (from_index);
CREATE INDEX state_by_to ON state (to_index);

-- Answers to mutating requests that carried an Idempotency-Key, for one day.
CREATE TABLE idempotency (
  key BLOB NOT NULL PRIMARY KEY,
  request BLOB NOT NULL,
  reply BLOB NOT NULL,
  at INTEGER NOT NULL
) STRICT;
