-- One index for what stands, by its name, and for what ended in one change, a page at a time in the order of its names.
DROP INDEX state_present;
DROP INDEX state_by_to;
CREATE INDEX state_by_to ON state (to_index, id);
