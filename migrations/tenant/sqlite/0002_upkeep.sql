-- The least index that is kept, a multiple of 256; and which version of the signing key signs.
ALTER TABLE head ADD COLUMN minimum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN signing_version INTEGER NOT NULL DEFAULT 1;

-- The public keys of the log, and the checkpoint by which one was handed over to the next: both have signed it.
CREATE TABLE log_key (
  version INTEGER NOT NULL PRIMARY KEY,
  public BLOB NOT NULL,
  checkpoint TEXT NOT NULL
) STRICT;

-- The search index, derived from the segments: what a block of entries says, as a filter and as pairs of word and place.
CREATE TABLE search_block (
  block INTEGER NOT NULL PRIMARY KEY,
  filter BLOB NOT NULL,
  pairs BLOB NOT NULL
) STRICT;

-- People whose parts are to be written out of the segments: their key is gone already.
CREATE TABLE erasure (
  subject TEXT NOT NULL PRIMARY KEY,
  requested_at INTEGER NOT NULL,
  reached INTEGER NOT NULL
) STRICT;
