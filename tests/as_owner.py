"""The test's database as the one who owns its tables: past the grants, and past every trigger where that is said."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, NullPool, create_engine, text

from certflow.registry.ledger import Registry


@contextmanager
def as_owner(registry: Registry, *, triggers: bool = True) -> Iterator[Connection]:
    """One transaction of the login behind the `registry` fixture, which has not taken on the application's role."""
    with create_engine(registry.engine.url, poolclass=NullPool).begin() as connection:
        if not triggers:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        yield connection
