-- A row that changes is ended without a look at what it was before.
CREATE INDEX state_present ON state (id) WHERE to_index IS NULL;
