-- The least index that is kept, a multiple of 256; and which version of the signing key signs.
ALTER TABLE head ADD COLUMN minimum BIGINT NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN signing_version BIGINT NOT NULL DEFAULT 1;

-- The public keys of the log, and the checkpoint by which one was handed over to the next: both have signed it.
CREATE TABLE log_key (
  version BIGINT NOT NULL PRIMARY KEY,
  public BYTEA NOT NULL,
  checkpoint TEXT NOT NULL
);

-- The search index, derived from the segments: what a block of entries says, as a filter and as pairs of word and place.
CREATE TABLE search_block (
  block BIGINT NOT NULL PRIMARY KEY,
  filter BYTEA NOT NULL,
  pairs BYTEA NOT NULL
);

-- People whose parts are to be written out of the segments: their key is gone already.
CREATE TABLE erasure (
  subject TEXT NOT NULL PRIMARY KEY,
  requested_at BIGINT NOT NULL,
  reached BIGINT NOT NULL
);
