-- A batch of decisions is one statement here without anything of the schema's: both tables are written by one common table expression.
SELECT 1;
