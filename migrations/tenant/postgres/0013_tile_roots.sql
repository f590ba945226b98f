-- The root over a full tile, which the level above holds: nobody hashes the tile again for it. Tiles from before have none.
ALTER TABLE tile ADD COLUMN root BYTEA;
ALTER TABLE tile ALTER COLUMN root SET STATISTICS 0;
