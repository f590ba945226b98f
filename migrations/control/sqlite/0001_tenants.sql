-- The directory of tenants and nothing of theirs: what a person chose is sealed under the deployment's key.
CREATE TABLE deployment (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  key_wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tenant (
  id TEXT NOT NULL PRIMARY KEY,
  slug_index BLOB NOT NULL UNIQUE,
  slug BLOB NOT NULL,
  place TEXT NOT NULL,
  key_version INTEGER NOT NULL,
  key_wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL,
  ready INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
