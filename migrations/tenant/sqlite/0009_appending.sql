-- A batch of decisions in one statement: its segment, and the head moved on where the log still ends as the batch assumes. Where it does
-- not, nothing is written and the statement fails with SQLITE_CONSTRAINT_TRIGGER.
CREATE VIEW appending AS
SELECT first_index, entries, leaves, parts, hashes, frontier, last_time, checkpoint,
  size AS ends, frontier AS ends_frontier, last_change AS ends_change, last_time AS ends_time, checkpoint AS ends_checkpoint,
  minimum AS ends_minimum, signing_version AS ends_signing, incarnation AS ends_incarnation, keys_version AS ends_keys
FROM head, segment;

CREATE TRIGGER appending_insert INSTEAD OF INSERT ON appending BEGIN
  SELECT RAISE(ABORT, 'the log does not end there') WHERE NOT EXISTS (
    SELECT 1 FROM head WHERE one = 1 AND size = NEW.ends AND frontier = NEW.ends_frontier AND last_change = NEW.ends_change
      AND last_time = NEW.ends_time AND checkpoint = NEW.ends_checkpoint AND minimum = NEW.ends_minimum
      AND signing_version = NEW.ends_signing AND incarnation = NEW.ends_incarnation AND keys_version = NEW.ends_keys);
  INSERT INTO segment (first_index, entries, leaves, parts, hashes)
  VALUES (NEW.first_index, NEW.entries, NEW.leaves, NEW.parts, NEW.hashes);
  UPDATE head SET size = NEW.first_index + NEW.entries, frontier = NEW.frontier, last_time = NEW.last_time,
    checkpoint = NEW.checkpoint WHERE one = 1;
END;
