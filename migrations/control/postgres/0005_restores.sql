-- Organizations that are being put back from a backup: none of them opens until that is done.
CREATE TABLE restoring (
  tenant TEXT NOT NULL PRIMARY KEY,
  backup TEXT NOT NULL,
  loaded BIGINT NOT NULL
);

-- People who were erased, and organizations that were closed (an empty subject): what a restore must not bring back.
CREATE TABLE erased (
  tenant TEXT NOT NULL,
  subject TEXT NOT NULL,
  sealed BYTEA NOT NULL,
  PRIMARY KEY (tenant, subject)
);
