-- While a tenant key is rotated both versions are here: the tenant's database says which of them its data keys lie under.
ALTER TABLE tenant ADD COLUMN next_version BIGINT;
ALTER TABLE tenant ADD COLUMN next_wrapped BYTEA;
ALTER TABLE tenant ADD COLUMN next_check BYTEA;

-- The version of the deployment's own keys, and the one that they are being rotated to.
ALTER TABLE deployment ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE deployment ADD COLUMN next_version BIGINT;
-- The root key that is being rotated away until that is recorded, and the one that everything is being wrapped under.
ALTER TABLE deployment ADD COLUMN root_from BIGINT;
ALTER TABLE deployment ADD COLUMN root_next BIGINT;
-- How many tenants were removed, how many of these no root key opens any more, how many the rotation under way will cover, and since when
-- one has been waiting for it.
ALTER TABLE deployment ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN shredded BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN covers BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN removed_at BIGINT;
-- Until when somebody is at work on these keys.
ALTER TABLE deployment ADD COLUMN leased_until BIGINT NOT NULL DEFAULT 0;
