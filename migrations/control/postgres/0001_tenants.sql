-- The directory of tenants and nothing of theirs: what a person chose is sealed under the deployment's key.
CREATE TABLE deployment (
  one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
  root_version BIGINT NOT NULL,
  root_check BYTEA NOT NULL,
  key_wrapped BYTEA NOT NULL,
  key_check BYTEA NOT NULL,
  records_wrapped BYTEA NOT NULL,
  records_check BYTEA NOT NULL,
  slug_wrapped BYTEA NOT NULL,
  slug_check BYTEA NOT NULL
);

CREATE TABLE tenant (
  id TEXT NOT NULL PRIMARY KEY,
  slug_index BYTEA NOT NULL UNIQUE,
  slug BYTEA NOT NULL,
  key_version BIGINT NOT NULL,
  key_wrapped BYTEA NOT NULL,
  key_check BYTEA NOT NULL,
  ready BIGINT NOT NULL,
  created_at BIGINT NOT NULL
);
