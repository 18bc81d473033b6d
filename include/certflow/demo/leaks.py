"""Look for the synthetic people everywhere nobody should see them (invariant I10, DOMAIN §9).

Searched are Airflow's whole metadata database (XCom, rendered fields, params, its own audit log), every log
file, the quality results and Data Docs, the month report, the audit chain and the manifests of the packages.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, create_engine, text

from certflow.registry import premises, server
from certflow.registry.ledger import Registry
from certflow.settings import Settings

SAMPLE: Final = 150
"""Rows whose people are looked for; the choice is by digest of the row's surrogate id, always the same."""
_LONG: Final = 4
"""Characters of a name that cannot stand in a text by chance."""


def search(
    settings: Settings,
    registry: Registry,
    *,
    planted: Iterable[str] = (),
    heard: Mapping[str, str | bytes] = MappingProxyType({}),
) -> list[str]:
    """One line per place where a planted name, ID number or photo name shows up, never the value itself.

    `planted`: further values to look for. `heard`: further texts by name, as somebody outside had them (metrics,
    titles of processes).
    """
    engine = create_engine(server.url(settings, "airflow"))
    try:
        with registry.read() as ours, engine.connect() as airflows:
            values = _planted(ours).union(planted)
            texts = dict(heard) | {f"airflow.{name}": lines for name, lines in _tables(airflows)}
            texts |= {f"certflow.{name}": lines for name, lines in _tables(ours, ("audit", "moves", "transfers"))}
    finally:
        engine.dispose()
    places = (
        settings.path("airflow"),
        settings.path("quality"),
        settings.path("inbox"),
        settings.reports,
        settings.audit_heads,
        settings.path("postgres", "cluster", "server.log"),
        *settings.packages.rglob("*.manifest.json"),
    )
    return premises.scan([place for place in places if place.exists()], texts, values)


def _planted(conn: Connection) -> set[str]:
    found: set[str] = set()
    query = "SELECT sent->>'ZJHM', id_number, sent->>'KSXM', name FROM rows ORDER BY md5(record_id) LIMIT :rows"
    for sent_number, number, sent_name, name in conn.execute(text(query), {"rows": SAMPLE}):
        found |= {value for value in (sent_number, number) if value}
        found |= {value for value in (sent_name, name) if len(value) >= _LONG}
    return found


def _tables(conn: Connection, names: Iterable[str] | None = None) -> Iterable[tuple[str, str]]:
    if names is None:
        names = conn.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")).all()
    for name in names:
        yield name, str(conn.scalar(text(f"SELECT string_agg(t::text, chr(10)) FROM {name} t")) or "")  # noqa: S608 (names of the catalogue)
