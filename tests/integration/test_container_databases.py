"""`deploy/databases.sh` on a real server, and what the logins it makes may do then."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from certflow.errors import ConfigurationError
from certflow.registry import open_registry, server
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor
from certflow.settings import Settings

ROOT = Path(__file__).parents[2]
SETTLED = "ALTER DATABASE {0} RENAME TO {0}_before", "ALTER ROLE {0} RENAME TO {0}_before"


@pytest.fixture
def urls(tmp_path):
    """The addresses in the files that `deploy/secrets.sh` writes, on a server that knew none of these names before."""
    if not shutil.which("psql"):
        pytest.skip("no psql on this machine")
    subprocess.run(["sh", ROOT / "deploy" / "secrets.sh", "--demo", tmp_path / "secrets"], check=True)
    settings = Settings(home=tmp_path / "server")
    with server.hold(settings):
        administer(server.url(settings, "postgres"), "CREATE ROLE postgres SUPERUSER LOGIN PASSWORD 'admin'")
        folder = Path(server.Cluster(settings.home).socket_folder)
        admin = f"postgresql+psycopg://postgres:admin@/postgres?host={folder}"
        administer(admin, *(order.format(name) for name in ("certflow", "airflow") for order in SETTLED[:1]))
        administer(admin, *(SETTLED[1].format(name) for name in ("certflow", "certflow_app")))
        env = {"PATH": os.environ["PATH"], "PGHOST": str(folder), "PGPASSWORD": "admin", "POSTGRES_USER": "postgres"}
        env["DATABASE_SECRETS"] = str(tmp_path / "secrets")
        made = subprocess.run(
            ["sh", ROOT / "deploy" / "databases.sh"], env=env, capture_output=True, text=True, check=False
        )
        assert (made.returncode, made.stderr) == (0, "")
        yield {
            name: (tmp_path / "secrets" / name).read_text().strip().replace("@postgres/", "@/") + f"?host={folder}"
            for name in ("database_url", "owner_url", "metadata_url")
        }


def administer(url, *orders):
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for order in orders:
            connection.execute(text(order))
    engine.dispose()


def test_the_program_works_as_the_application_and_only_the_migration_as_the_owner(urls, tmp_path):
    home = tmp_path / "home"
    with pytest.raises(ConfigurationError):
        open_registry(Settings(home=home, database_url=urls["database_url"]))
    open_registry(
        Settings(home=home, database_url=urls["database_url"], database_owner_url=urls["owner_url"])
    ).close()  # the service `migrate`
    settings = Settings(home=home, database_url=urls["database_url"])
    with open_registry(settings) as registry:
        with registry.begin(Actor("test")) as conn:
            assert conn.scalar(text("SELECT current_user")) == "certflow_app"
        with registry.engine.connect() as conn, pytest.raises(DBAPIError, match="permission denied"):
            conn.execute(text("DELETE FROM audit"))
        assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


def test_airflow_and_certflow_cannot_open_each_others_database(urls):
    for url, other in ((urls["metadata_url"], "certflow"), (urls["database_url"], "airflow")):
        head, _, tail = url.partition("@/")
        stranger = "postgresql+psycopg://" + head.split("://")[1] + f"@/{other}?" + tail.partition("?")[2]
        with pytest.raises(DBAPIError, match="permission denied"):
            administer(stranger, "SELECT 1")
        administer(url.replace("postgresql://", "postgresql+psycopg://"), "SELECT 1")
