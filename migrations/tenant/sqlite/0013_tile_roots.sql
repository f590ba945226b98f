-- The root over a full tile, which the level above holds: nobody hashes the tile again for it. Tiles from before have none.
ALTER TABLE tile ADD COLUMN root BLOB;
-- Roots one after the other, without the tiles between them.
CREATE INDEX tile_root ON tile (level, number, root);
