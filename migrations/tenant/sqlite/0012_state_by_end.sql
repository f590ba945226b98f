-- What ended in one change is read a page at a time, in the order of its names.
DROP INDEX state_by_to;
CREATE INDEX state_by_to ON state (to_index, id);
