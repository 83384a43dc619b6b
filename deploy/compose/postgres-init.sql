-- Run once, on an empty volume, as the superuser: a role for the services and one for the registry, which may do
-- nothing outside their own database. Passwords come from deploy/compose/secrets/postgres.env.
\getenv millrace_password MILLRACE_DATABASE_PASSWORD
\getenv registry_password REGISTRY_DATABASE_PASSWORD

CREATE ROLE millrace LOGIN PASSWORD :'millrace_password';
CREATE DATABASE millrace OWNER millrace;
REVOKE ALL ON DATABASE millrace FROM PUBLIC;

CREATE ROLE registry LOGIN PASSWORD :'registry_password';
CREATE DATABASE registry OWNER registry;
REVOKE ALL ON DATABASE registry FROM PUBLIC;

-- Only a superuser may create it; migrations find it there.
\connect millrace
CREATE EXTENSION vector;
