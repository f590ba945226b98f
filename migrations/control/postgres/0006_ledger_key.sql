-- The ledger of erasures has a key of its own, which is never another: its lines lie in files that no rotation reaches.
ALTER TABLE deployment ADD COLUMN ledger_wrapped BYTEA;
ALTER TABLE deployment ADD COLUMN ledger_check BYTEA;
