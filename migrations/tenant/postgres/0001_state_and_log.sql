-- Who this database belongs to.
CREATE TABLE tenant (
  one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  key_check BYTEA NOT NULL
);

-- Data keys, wrapped by the tenant key.
CREATE TABLE data_key (
  purpose TEXT NOT NULL,
  version BIGINT NOT NULL,
  wrapped BYTEA NOT NULL,
  key_check BYTEA NOT NULL,
  PRIMARY KEY (purpose, version)
);

-- A key for each person, wrapped by the subject-wrap key: forgetting somebody destroys theirs.
CREATE TABLE subject_key (
  subject TEXT NOT NULL PRIMARY KEY,
  wrapped BYTEA NOT NULL,
  key_check BYTEA NOT NULL
);

-- The end of the log: its row lock orders everything.
CREATE TABLE head (
  one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
  size BIGINT NOT NULL,
  frontier BYTEA NOT NULL,
  last_change BIGINT NOT NULL,
  last_time BIGINT NOT NULL,
  checkpoint TEXT NOT NULL
);

-- One row a batch: sealed leaves, sealed parts, and the leaf hashes, which are public.
CREATE TABLE segment (
  first_index BIGINT NOT NULL PRIMARY KEY,
  entries BIGINT NOT NULL,
  leaves BYTEA NOT NULL,
  parts BYTEA NOT NULL,
  hashes BYTEA NOT NULL
);

-- Full hash tiles of 256, written when they fill up.
CREATE TABLE tile (
  level BIGINT NOT NULL,
  number BIGINT NOT NULL,
  hashes BYTEA NOT NULL,
  PRIMARY KEY (level, number)
);

-- Everything that changes, by the log index at which it took effect and the one at which it stopped.
CREATE TABLE state (
  id TEXT NOT NULL,
  from_index BIGINT NOT NULL,
  to_index BIGINT,
  body BYTEA NOT NULL,
  PRIMARY KEY (id, from_index)
);
CREATE INDEX state_by_from ON state (from_index);
CREATE INDEX state_by_to ON state (to_index);

-- Answers to mutating requests that carried an Idempotency-Key, for one day.
CREATE TABLE idempotency (
  key BYTEA NOT NULL PRIMARY KEY,
  request BYTEA NOT NULL,
  reply BYTEA NOT NULL,
  at BIGINT NOT NULL
);
