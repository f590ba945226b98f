-- Sizes of this log whose checkpoint the deployment's log has a commitment to: the salt, sealed, and the entry there once it is written.
CREATE TABLE anchor (
  size BIGINT NOT NULL PRIMARY KEY,
  salt BYTEA NOT NULL,
  entry BIGINT
);

-- The last checkpoint that went out, with the signatures of its witnesses. Of the deployment's log alone there is one.
CREATE TABLE published (
  one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
  size BIGINT NOT NULL,
  note TEXT NOT NULL
);
