-- The lives of the log: a restore from a backup begins another, from the size on that was put back.
CREATE TABLE life (
  first_index BIGINT NOT NULL PRIMARY KEY,
  incarnation TEXT NOT NULL UNIQUE
);
INSERT INTO life (first_index, incarnation) SELECT 0, incarnation FROM tenant;
-- Whoever holds the head's lock sees which life it is of.
ALTER TABLE head ADD COLUMN incarnation TEXT NOT NULL DEFAULT '';
UPDATE head SET incarnation = COALESCE((SELECT incarnation FROM tenant WHERE one = 1), '');
ALTER TABLE tenant DROP COLUMN incarnation;
