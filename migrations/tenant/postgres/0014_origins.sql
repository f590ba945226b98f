-- From where a sign-in was begun, as a keyed hash of the address: who has most gives way where all are too many. A link that was
-- granted has none.
ALTER TABLE arrival ADD COLUMN origin BYTEA;
ALTER TABLE arrival ALTER COLUMN origin SET STATISTICS 0;
CREATE INDEX arrival_origin ON arrival (origin, expires_at);
