#!/bin/sh
# Runs once, when the database's volume is empty (the postgres image calls it). Two databases whose owners cannot see
# each other's; in certflow's, the program logs in as certflow_app, which may append to the evidence and never change it,
# and `certflow` only migrates (include/certflow/registry/migrations/versions/0001_roles.sql says who may do what).
set -eu

secrets=${DATABASE_SECRETS:-/run/secrets}
run() { psql -q -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres "$@"; }

for name in certflow airflow; do
    run -v password="$(cat "$secrets/${name}_password")" <<SQL
CREATE ROLE $name LOGIN PASSWORD :'password';
CREATE DATABASE $name OWNER $name;
REVOKE CONNECT ON DATABASE $name FROM PUBLIC;
SQL
done
run -v password="$(cat "$secrets/app_password")" <<SQL
CREATE ROLE certflow_app_rw NOLOGIN;
CREATE ROLE certflow_app_ro NOLOGIN;
CREATE ROLE certflow_audit_insert NOLOGIN;
GRANT certflow_app_rw, certflow_app_ro, certflow_audit_insert TO certflow;
CREATE ROLE certflow_app LOGIN PASSWORD :'password' IN ROLE certflow_app_rw;
GRANT CONNECT ON DATABASE certflow TO certflow_app_rw, certflow_app_ro;
SQL
