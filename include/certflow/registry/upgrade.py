"""Bring the database to the newest revision; runs when it is opened, under a lock, and costs one look when it is."""

from pathlib import Path

import psycopg
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from certflow.errors import ConfigurationError, TransferError
from certflow.registry import server
from certflow.registry.migrations import HEAD
from certflow.settings import Settings

ROLE = "certflow_app_rw"
"""What the program works as: may append to the evidence, never change it (``versions/0001_roles.sql``)."""

_LOCK = text("SELECT pg_advisory_xact_lock(4849336, 0)")
_OWNS = text("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('audit')")


def upgrade(settings: Settings) -> str:
    """Migrate to `HEAD`, as the owner; the role the program has to take on, empty where its login is no owner.

    Raises:
        ConfigurationError: the database comes from a newer program than this one, or its login may not migrate it.
        TransferError: it cannot be reached, or its disk is full.
    """
    try:
        with _engine(server.url(settings)).connect() as connection:
            if _revision(connection) == HEAD:
                return ROLE if connection.scalar(_OWNS) else ""
        with owner(settings).begin() as connection:
            connection.execute(_LOCK)
            _migrate(connection)
        with _engine(server.url(settings)).connect() as connection:
            return ROLE if connection.scalar(_OWNS) else ""
    except OperationalError as error:
        told = f"数据库连不上或写不进（{type(error.orig).__name__}）；请检查磁盘和 CERTFLOW_DATABASE_URL"
        raise TransferError(told) from None


def owner(settings: Settings) -> Engine:
    """The database as the one to whom its tables belong: for migrations and repairs, never for daily work."""
    return _engine(server.url(settings, owner=True))


def _engine(url: str) -> Engine:
    return create_engine(url, hide_parameters=True, poolclass=NullPool, connect_args={"connect_timeout": 30})


def _migrate(connection: Connection) -> None:
    from alembic.command import upgrade as run
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        run(config, HEAD)
    except CommandError as error:
        raise ConfigurationError(
            f"数据库的版本 {_revision(connection)} 不属于此程序（{error}）；请使用与数据库相符的 certflow 版本"
        ) from None
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise
        raise ConfigurationError(
            "数据库账号无权建立或升级表结构：请把 CERTFLOW_DATABASE_OWNER_URL 设为拥有这些表的账号；"
            "三个角色请数据库管理员先建好（docs/data-protection.zh-CN.md）"
        ) from None


def _revision(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
