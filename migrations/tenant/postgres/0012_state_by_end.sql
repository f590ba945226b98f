-- One index for what stands, by its name, and for what ended in one change, a page at a time in the order of its names.
DROP INDEX state_present;
DROP INDEX state_by_to;
CREATE INDEX state_by_to ON state (to_index, id);

-- Statistics are samples of what columns hold, kept apart from their rows: a key that was destroyed would be in them still. Nothing is
-- searched by what is sealed.
DO $$
DECLARE
  sealed RECORD;
BEGIN
  FOR sealed IN
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND data_type = 'bytea'
  LOOP
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET STATISTICS 0', sealed.table_name, sealed.column_name);
  END LOOP;
END $$;
