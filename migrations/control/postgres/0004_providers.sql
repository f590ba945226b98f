-- Whose root keys wrap a key (`wrapped_by`), and for a tenant whose are to (`provider`; empty for the deployment's).
ALTER TABLE deployment ADD COLUMN wrapped_by TEXT NOT NULL DEFAULT 'keyring';
ALTER TABLE tenant ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE tenant ADD COLUMN wrapped_by TEXT NOT NULL DEFAULT 'keyring';
CREATE INDEX tenant_wrapped_by ON tenant (wrapped_by);
