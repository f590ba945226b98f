-- While a tenant key is rotated both versions are here: the tenant's database says which of them its data keys lie under.
ALTER TABLE tenant ADD COLUMN next_version INTEGER;
ALTER TABLE tenant ADD COLUMN next_wrapped BLOB;
ALTER TABLE tenant ADD COLUMN next_check BLOB;

-- The version of the deployment's own keys, and the one that they are being rotated to.
ALTER TABLE deployment ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE deployment ADD COLUMN next_version INTEGER;
-- The root key that is being rotated away until that is recorded, and the one that everything is being wrapped under.
ALTER TABLE deployment ADD COLUMN root_from INTEGER;
ALTER TABLE deployment ADD COLUMN root_next INTEGER;
-- How many tenants were removed, how many of these no root key opens any more, how many the rotation under way will cover, and since when
-- one has been waiting for it.
ALTER TABLE deployment ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN shredded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN covers INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN removed_at INTEGER;
-- Until when somebody is at work on these keys.
ALTER TABLE deployment ADD COLUMN leased_until INTEGER NOT NULL DEFAULT 0;
