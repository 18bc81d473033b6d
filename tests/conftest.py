"""Fixtures shared by all tests.

`settings`   Settings with a home of its own below tmp_path. In a test that also asks for `registry`, its
             `database_url` names that test's database, so every use-case opens the same one.
`registry`   an open Registry on a fresh, migrated, empty database on a real PostgreSQL (the embedded one, started
             once per test session; the database is cloned from a migrated template, 0.1 s).
`actor`      Actor("tester", run="test", attempt=1), for `registry.begin(actor)`.
`postgres`   session: the Settings of the embedded server itself, for tests that need a database of another kind.

Heavy imports stay inside the fixtures: a test that needs no database starts none.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.registry.ledger import Actor, Registry

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """The program closes what it makes to others; a test that runs it in this process leaves the next one as it was."""
    before = os.umask(0)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The embedded server, running for the whole session; its database ``certflow`` is the migrated template."""
    from sqlalchemy import text

    from certflow.registry import open_registry, server
    from certflow.registry.upgrade import owner

    settings = Settings(home=tmp_path_factory.mktemp("postgres"))
    with server.hold(settings):
        open_registry(settings).close()
        with owner(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # Each test makes and drops a database, and each drop is a checkpoint: 0.5 s with a real disk behind it.
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        yield settings


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings with an empty home; with `registry` in the same test, they point at its database."""
    home = tmp_path / "home"
    if "registry" not in request.fixturenames:
        return Settings(home=home)
    return Settings(home=home, database_url=_clone(request.getfixturevalue("postgres")))


@pytest.fixture
def registry(settings: Settings, postgres: Settings) -> "Iterator[Registry]":
    """An open Registry on a database of this test's own."""
    from sqlalchemy import create_engine, make_url, text

    from certflow.registry import open_registry, server

    opened = open_registry(settings)
    yield opened
    opened.close()
    name = make_url(settings.database_url).database
    engine = create_engine(server.url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture
def actor() -> "Actor":
    """Who acts in tests."""
    from certflow.registry.ledger import Actor

    return Actor("tester", run="test", attempt=1)


def _clone(postgres: Settings) -> str:
    from sqlalchemy import create_engine, text

    from certflow.registry import server

    name = f"test_{next(_numbers)}"
    engine = create_engine(server.url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE certflow STRATEGY FILE_COPY'))
    engine.dispose()
    return server.url(postgres, name)  # the owner's login, which takes on the application's role
