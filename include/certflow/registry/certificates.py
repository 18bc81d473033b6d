"""The certificate database (DOMAIN §3.1): bulk load and refresh, and the comparison columns for the checks.

Everything is set-based: COPY into a temporary table, ANALYZE, join. No message here quotes a value; a line is
named by its number.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, func, select, text

from certflow.registry.export import Export, Line, read_export
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.schema import certificates

Progress = Callable[[int], None]
"""Told the number of lines read so far."""

_STEP = 10_000
_MATCHED = (
    "name", "id_number", "id_type", "sex", "exam_code", "exam_name", "level", "specialty", "birth_month",
    "approved_on", "city", "e_certificate",
)  # fmt: skip
_OWN = ("certificate_id", "name", "id_number")
"""Columns whose values most certificates have for themselves; of the others equal texts are held once."""
_WITHOUT_NUMBER = ("id_number", "exam_code", "level", "specialty", "approved_on")
"""What tells apart certificates of one person that have no 管理号."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did; ``read == inserted + updated + unchanged + len(refused)``, in lines."""

    read: int
    inserted: int
    updated: int
    unchanged: int
    refused: list[tuple[int, str]]
    """Line number as an editor or Excel shows it, and the reason (Chinese, without any value)."""
    ignored_columns: tuple[str, ...] = ()
    """Columns of the file that the certificate database does not keep."""


def load(
    registry: Registry, actor: Actor, file: Path, *, encoding: str = "utf-8-sig", progress: Progress | None = None
) -> LoadReport:
    """Load or refresh certificates from a CSV or Excel file (DESIGN §5), all good lines in one transaction.

    A certificate is recognised by its 管理号; where it has none, by ID number, exam, level, specialty and date.
    Columns the file does not have keep their values. A bad line is refused, the others go on. Raises
    ConfigurationError (no registry file: header, encoding), SubmissionError (a damaged workbook), Busy.
    """
    export = read_export(file, encoding)
    with registry.lock("certificates"), registry.begin(actor) as connection:
        read, repeated, refused = stage(connection, export, progress)
        updated = _update(connection, export.fields)
        inserted = _insert(connection, export.fields)
        unchanged = repeated + int(connection.scalar(text("SELECT count(*) FROM incoming")) or 0) - updated - inserted
        note(
            connection, "certificates.loaded", sha256=_digest(file), read=read, inserted=inserted, updated=updated,
            unchanged=unchanged, refused=len(refused),
        )  # fmt: skip
    if inserted + updated:
        with registry.begin(actor) as connection:
            connection.execute(text("ANALYZE certificates"))
    if progress:
        progress(read)
    return LoadReport(read, inserted, updated, unchanged, sorted(refused), export.ignored)


def stats(registry: Registry) -> dict[str, Any]:
    """Counts for ``certflow registry stats``.

    ``certificates``, ``without_number``, ``electronic``, and by exam code and by city: ``exams``, ``cities``.
    """
    with registry.read() as connection:
        total, unnumbered, electronic = connection.execute(
            select(
                func.count(),
                func.count().filter(certificates.c.management_no.is_(None)),
                func.count().filter(certificates.c.e_certificate == "是"),
            )
        ).one()
        return {
            "certificates": total,
            "without_number": unnumbered,
            "electronic": electronic,
            "exams": _counted(connection, certificates.c.exam_code),
            "cities": _counted(connection, certificates.c.city),
        }


def match(conn: Connection, management_nos: Sequence[str]) -> dict[str, list[Any]]:
    """The database's values beside a submission's rows, located by 管理号 (DOMAIN §3.1).

    Gives columns of that length, in that order: ``certificate_id`` and the certificate's values, None where no
    certificate has that 管理号.
    """
    conn.execute(text("DROP TABLE IF EXISTS pg_temp.wanted"))
    conn.execute(text("CREATE TEMP TABLE wanted (position integer, management_no text) ON COMMIT DROP"))
    with _cursor(conn).copy("COPY wanted FROM STDIN") as copy:
        if (block := _block(management_nos)) is not None:
            copy.write(block)
        else:
            for position, number in enumerate(management_nos):
                copy.write_row((position, _comparable(number)))
    conn.execute(text("ANALYZE wanted"))
    # The default of 4 makes the planner read ten million certificates instead of looking a few up; to merge, it
    # would fetch every one of them in the order of their numbers.
    conn.execute(text("SET LOCAL random_page_cost = 1.1"))
    conn.execute(text("SET LOCAL enable_mergejoin = off"))
    columns = ("certificate_id", *_MATCHED)
    cursor = _cursor(conn)
    cursor.execute(
        f"SELECT c.id, {', '.join(f'c.{name}' for name in _MATCHED)}"  # noqa: S608 (our own column names)
        " FROM wanted w LEFT JOIN certificates c ON c.management_no = w.management_no ORDER BY w.position"
    )
    found: dict[str, list[Any]] = {name: [] for name in columns}
    common = {name: dict[Any, Any]() for name in columns if name not in _OWN}
    while rows := cursor.fetchmany(_STEP):
        for name, values in zip(columns, zip(*rows, strict=True), strict=True):
            known = common.get(name)
            found[name].extend(values if known is None else map(known.setdefault, values, values))
    return found


def stage(connection: Connection, export: Export, progress: Progress | None) -> tuple[int, int, list[tuple[int, str]]]:
    """Bring the good lines, one per certificate, into the temporary table ``incoming``: read, repeated, refused."""
    refused: list[tuple[int, str]] = []
    read = 0
    connection.execute(text(f"CREATE TEMP TABLE incoming (line bigint, {_declare(export.fields)}) ON COMMIT DROP"))
    statement = sql.SQL("COPY incoming (line, {}) FROM STDIN").format(_names(export.fields))
    with _cursor(connection).copy(statement) as copy:
        for line in export.lines:
            read += 1
            if line.fault:
                refused.append((line.number, line.fault))
            else:
                copy.write_row((line.number, *_stored(export.fields, line)))
            if progress and read % _STEP == 0:
                progress(read)
    connection.execute(text("ANALYZE incoming"))
    return read, _settle_repeats(connection, export.fields, refused), refused


def _stored(fields: Sequence[str], line: Line) -> Iterator[str | None]:
    for name, value in zip(fields, line.values, strict=True):
        yield None if name == "management_no" and not value else value


def _settle_repeats(connection: Connection, fields: Sequence[str], refused: list[tuple[int, str]]) -> int:
    """Drop repeated lines: equal ones but the first (their number is returned), all of those that contradict."""
    content = ", ".join(fields)
    repeated = 0
    for identity, condition in identities():
        found = connection.execute(
            text(
                f"WITH seen AS (SELECT line, min(line) OVER w AS first, row({content}) IS DISTINCT FROM"  # noqa: S608 (our own column names)
                f" first_value(row({content})) OVER w AS other FROM incoming WHERE {condition}"
                f" AND ({identity}) IN (SELECT {identity} FROM incoming WHERE {condition} GROUP BY {identity}"
                f" HAVING count(*) > 1) WINDOW w AS (PARTITION BY {identity} ORDER BY line))"
                " SELECT first, array_agg(line ORDER BY line), bool_or(other) FROM seen GROUP BY first"
            )
        ).all()
        gone: list[int] = []
        for first, lines, contradict in found:
            if contradict:
                fault = f"与第 {'、'.join(map(str, lines[:5]))} 行是同一证书，内容却不同，无法判断以哪一行为准"
                refused.extend((line, fault) for line in lines)
                gone.extend(lines)
            else:
                repeated += len(lines) - 1
                gone.extend(line for line in lines if line != first)
        if gone:
            connection.execute(text("DELETE FROM incoming WHERE line = ANY(:gone)"), {"gone": gone})
    return repeated


def _update(connection: Connection, fields: Sequence[str]) -> int:
    changed = [name for name in fields if name != "management_no"]
    done = 0
    for identity, condition in identities():
        keys = identity.split(", ")
        same = " AND ".join(f"c.{name} = i.{name}" for name in keys)
        result = connection.execute(
            text(
                f"UPDATE certificates c SET {', '.join(f'{name} = i.{name}' for name in changed)} FROM incoming i"  # noqa: S608 (our own column names)
                f" WHERE {same} AND i.{condition} AND c.{condition}"
                f" AND ({', '.join(f'c.{name}' for name in changed)})"
                f" IS DISTINCT FROM ({', '.join(f'i.{name}' for name in changed)})"
            )
        )
        done += result.rowcount
    return done


def _insert(connection: Connection, fields: Sequence[str]) -> int:
    names = ", ".join(fields)
    done = 0
    for identity, condition in identities():
        same = " AND ".join(f"c.{name} = i.{name}" for name in identity.split(", "))
        result = connection.execute(
            text(
                f"INSERT INTO certificates ({names}) SELECT {names} FROM incoming i WHERE i.{condition}"  # noqa: S608 (our own column names)
                f" AND NOT EXISTS (SELECT FROM certificates c WHERE {same} AND c.{condition}) ORDER BY line"
            )
        )
        done += result.rowcount
    return done


def identities() -> tuple[tuple[str, str], ...]:
    """How a certificate is recognised: its columns, and the condition under which they tell."""
    return (
        ("management_no", "management_no IS NOT NULL"),
        (", ".join(_WITHOUT_NUMBER), "management_no IS NULL"),
    )


def _counted(connection: Connection, column: Any) -> dict[str, int]:  # noqa: ANN401 (a column of text)
    found = connection.execute(select(column, func.count()).group_by(column).order_by(column))
    return {str(row[0]): int(row[1]) for row in found}


def _comparable(value: str) -> str:
    """A value PostgreSQL can hold; one that it cannot (NUL, half a surrogate pair) equals no certificate's."""
    if "\0" in value:
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value


def _cursor(connection: Connection) -> Any:  # noqa: ANN401 (psycopg's cursor, which SQLAlchemy does not type)
    return connection.connection.cursor()


def _declare(fields: Sequence[str]) -> str:
    return ", ".join(f"{name} text" for name in fields)


def _names(fields: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, fields))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _block(*values: Sequence[str]) -> bytes | None:
    """Numbered lines as COPY reads them, made at one go; None where a value holds a sign that means something to it."""
    size = len(values[0])
    text = "\n".join(map("\t".join, zip(map(str, range(size)), *values, strict=True)))
    if text.count("\t") != size * len(values) or text.count("\n") != max(size - 1, 0):
        return None
    if any(sign in text for sign in "\\\r\0"):
        return None
    try:
        return f"{text}\n".encode() if size else b""
    except UnicodeEncodeError:
        return None
