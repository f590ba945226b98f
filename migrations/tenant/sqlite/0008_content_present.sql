-- The version that counts is found without a look at those before it.
CREATE INDEX content_present ON content (resource) WHERE to_index IS NULL;
