"""Alembic migrations of the certificate database and the ledger; run by `registry.open_registry`."""

HEAD = "0004"
"""The newest revision: a database that is there already is opened without loading Alembic at all."""
