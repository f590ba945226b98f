-- The deployment has a log of its own, with a database like a tenant's: 0 is an organization, 1 the deployment.
ALTER TABLE tenant ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
