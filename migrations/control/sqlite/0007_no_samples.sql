-- SQLite keeps no samples of what columns hold, unless it is asked to.
SELECT 1;
