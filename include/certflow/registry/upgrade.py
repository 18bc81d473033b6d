"""Bring the database to the newest revision; runs when it is opened, under a lock, and costs one look when it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from certflow.errors import ConfigurationError, TransferError
from certflow.registry.migrations import HEAD

if TYPE_CHECKING:
    from certflow.registry.ledger import Registry

_LOCK = text("SELECT pg_advisory_xact_lock(4849336, 0)")


def upgrade(registry: "Registry") -> None:
    """Migrate to `HEAD`; ConfigurationError when the database comes from a newer program than this one."""
    try:
        with registry.engine.connect() as connection:
            if _revision(connection) == HEAD:
                return
    except OperationalError as error:
        raise TransferError(f"无法连接数据库（{type(error.orig).__name__}）；请检查 CERTFLOW_DATABASE_URL") from None
    from alembic.command import upgrade as run
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    with registry.engine.begin() as connection:
        connection.execute(_LOCK)
        config.attributes["connection"] = connection
        try:
            run(config, HEAD)
        except CommandError as error:
            raise ConfigurationError(
                f"数据库的版本 {_revision(connection)} 不属于此程序（{error}）；请使用与数据库相符的 certflow 版本"
            ) from None


def _revision(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
