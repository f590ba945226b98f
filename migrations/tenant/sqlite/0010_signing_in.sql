-- Sign-ins that are under way: each is taken once, within ten minutes. `id` is the SHA-256 of what the browser brings back.
CREATE TABLE arrival (
  id BLOB NOT NULL PRIMARY KEY,
  body BLOB NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX arrival_expires_at ON arrival (expires_at);

-- What must never be taken twice, such as a SAML assertion: the SHA-256 of its name, until it would be refused anyway.
CREATE TABLE spent (
  id BLOB NOT NULL PRIMARY KEY,
  expires_at INTEGER NOT NULL
);
CREATE INDEX spent_expires_at ON spent (expires_at);

-- When a session or a key was last used, to the minute.
CREATE TABLE used (
  id TEXT NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL
);
