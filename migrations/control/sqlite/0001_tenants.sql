-- The directory of tenants and nothing of theirs: what a person chose is sealed under the deployment's key.
CREATE TABLE deployment (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  root_version INTEGER NOT NULL,
  root_check BLOB NOT NULL,
  key_wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL,
  records_wrapped BLOB NOT NULL,
  records_check BLOB NOT NULL,
  slug_wrapped BLOB NOT NULL,
  slug_check BLOB NOT NULL
) STRICT;

CREATE TABLE tenant (
  id TEXT NOT NULL PRIMARY KEY,
  slug_index BLOB NOT NULL UNIQUE,
  slug BLOB NOT NULL,
  key_version INTEGER NOT NULL,
  key_wrapped BLOB NOT NULL,
  key_check BLOB NOT NULL,
  ready INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
