"""The certificate database and the ledger, and the embedded PostgreSQL under them; the only room that speaks SQL."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certflow.registry.ledger import Registry
    from certflow.settings import Settings


def open_registry(settings: "Settings") -> "Registry":
    """Open the database of these settings, up to date: starts the embedded server and migrates where needed.

    ConfigurationError when the server cannot run or the database is from a newer program. Close it when done:
    the last one to leave stops the embedded server.
    """
    from certflow.registry import server
    from certflow.registry.ledger import Registry
    from certflow.registry.upgrade import upgrade

    lease = server.hold(settings)
    try:
        return Registry(settings, lease, role=upgrade(settings))
    except BaseException:
        if lease is not None:
            lease.close()
        raise
