"""`certflow doctor`: the invariants of DESIGN §3, one function each, over the ledger and the home folder.

Every function gives the problems it found as lines an operator can act on: ids and counts, no personal data.
I10 (no personal data in logs) needs to know what to look for: `premises.scan`, used by tests and the demo.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Connection, text

from certflow import naming, vault
from certflow.registry import anchors, chain, holds, premises, reprints, retention
from certflow.registry.ledger import Registry
from certflow.registry.packages import all_packages
from certflow.registry.reprints import IN_FORCE
from certflow.registry.schema import ERRANDS, TRANSITIONS
from certflow.settings import Settings

Rebuild = Callable[[int, Path], str]
"""Builds a package again into a file, or two beside each other, and gives its digest (`dispatch.assemble.rebuild`)."""

UNKNOWN_DAYS = 1
"""A package whose delivery is unknown is looked into on the next working day."""


def examine(
    registry: Registry, settings: Settings, *, older_than: float = 0.0, rebuild: Rebuild | None = None
) -> dict[str, list[str]]:
    """Problems by invariant, I1 … I12 without I10; an empty list each when all is well.

    `older_than` (seconds) spares temporary files of work that is still under way. With `rebuild` every package
    whose photos were not purged is built again and must give the same bytes (I8).
    """
    with registry.read() as conn:
        conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        found = {
            "I1": premises.lost_originals(conn, settings),
            "I2": [*unsettled(conn), *astray(conn)],
            "I3": doubly_open(conn),
            "I4": doubly_delivered(conn),
            "I5": [
                *premises.wrong_packages(conn, settings),
                *premises.wrong_proofs(conn, settings),
                *premises.unknown_lists(conn, settings),
            ],
            "I6": unlawful_moves(conn),
            "I7": [
                *chain.broken_links(conn, settings.audit_heads),
                *anchors.problems(conn, settings, dt.datetime.now(dt.UTC)),
            ],
            "I8": [*miscounted_packages(conn), *premises.wrong_package_contents(conn, settings)],
            "I9": unfounded_prints(conn),
            "I11": premises.leftovers(conn, settings, older_than),
            "I12": [*overdue(conn), *undecided(conn), *unanswered(conn, settings.missing_alarm_days)],
        }
        lost = retention.photos_gone(conn)
        built = {one.id: one.digest for _, one in all_packages(conn) if one.state != "REJECTED" and one.id not in lost}
    if rebuild is not None:
        found["I8"] += unrepeatable(settings, built, rebuild)
    return found


def unsettled(conn: Connection) -> list[str]:
    """I2: received = accepted + held + returned + ignored, for files, entries, rows and photos."""
    return [
        *_lines(conn, "文件 {0} 已判定，却没有对应的申报", """
            SELECT f.id FROM files f WHERE f.state = 'JUDGED' AND f.kind = 'submission'
            AND NOT EXISTS (SELECT FROM submission_files s WHERE s.file_id = f.id) ORDER BY f.id"""),
        *_lines(conn, "文件 {0} 停在 UNPACKED，没有结论", "SELECT id FROM files WHERE state = 'UNPACKED' ORDER BY id"),
        *_lines(conn, "文件 {0} 被标为 {1}，却没有原因", """
            SELECT id, state FROM files WHERE state IN ('RETURNED', 'HELD', 'IGNORED') AND coalesce(reason, '') = ''
            ORDER BY id"""),
        *_lines(conn, "行 {0} 没有结论", "SELECT record_id FROM rows WHERE state = 'JUDGED' ORDER BY record_id"),
        *_lines(conn, "文件 {0} 的第 {1} 个成员没有结论（{2}）", """
            SELECT file_id, ordinal, role FROM entries
            WHERE outcome NOT IN ('accepted', 'held', 'returned', 'ignored') ORDER BY file_id, ordinal"""),
        *_lines(conn, "文件 {0} 有 {1} 个成员，编号到 {2}：有成员没有记录", """
            SELECT file_id, count(*), max(ordinal) FROM entries GROUP BY file_id
            HAVING max(ordinal) - min(ordinal) + 1 <> count(*) OR min(ordinal) > 1 ORDER BY file_id"""),
        *_lines(conn, "行 {0} 的照片被判为 {1}", """
            SELECT r.record_id, e.outcome FROM rows r JOIN entries e ON e.id = r.photo_entry_id
            WHERE r.state IN ('PACKED', 'SENT') AND e.outcome <> 'accepted' ORDER BY r.record_id"""),
    ]  # fmt: skip


def astray(conn: Connection) -> list[str]:
    """I2, the paper: every printed row has exactly one delivery, and both say the same of where it is."""
    return _lines(conn, "行 {0} 为 {1}，它的证书发放状态却是 {2}", """
        SELECT r.record_id, r.state, coalesce(d.state, '（没有）') FROM rows r
        LEFT JOIN deliveries d ON d.row_id = r.id
        WHERE d.id IS NOT NULL AND r.state NOT IN ('SENT', 'REFUSED', 'PRINTED', 'DELIVERED', 'CLOSED')
           OR d.state IS DISTINCT FROM 'AWAITING' AND d.id IS NOT NULL AND r.state IN ('SENT', 'REFUSED')
           OR r.state = 'PRINTED' AND coalesce(d.state, 'AWAITING') IN ('AWAITING', 'SIGNED', 'HANDED')
           OR (r.state = 'DELIVERED' OR d.id IS NOT NULL AND r.state = 'CLOSED')
              AND coalesce(d.state, '') NOT IN ('SIGNED', 'HANDED')
        ORDER BY r.record_id""")  # fmt: skip


def doubly_open(conn: Connection) -> list[str]:
    """I3: a 管理号 has at most one row in ACCEPTED … SENT."""
    return _lines(conn, "同一管理号有 {0} 行同时在办：{1}", """
        SELECT count(*), string_agg(record_id, '、' ORDER BY id) FROM rows
        WHERE state IN ('ACCEPTED', 'PACKED', 'SENT') AND management_no <> ''
        GROUP BY management_no HAVING count(*) > 1""")  # fmt: skip


def doubly_delivered(conn: Connection) -> list[str]:
    """I4: a package is delivered at most once, or its state is UNKNOWN and waits for a person."""
    return [
        *_lines(conn, "内容相同的数据包 {0} 都已送出", """
            SELECT string_agg(id::text, '、' ORDER BY id) FROM packages p WHERE state = 'SENT' AND EXISTS (
                SELECT FROM package_rows pr JOIN rows r ON r.id = pr.row_id WHERE pr.package_id = p.id
                AND r.state IN ('PACKED', 'SENT'))
            GROUP BY sha256, manifest #>> '{photos_zip,sha256}' HAVING count(*) > 1"""),
        *_lines(conn, "数据包 {0} 的送出记录有 {1} 条", """
            SELECT package_id, count(*) FROM transfers WHERE event = 'sent'
            GROUP BY package_id HAVING count(*) > 1 ORDER BY package_id"""),
        *_lines(conn, "数据包 {0} 标为已送出，却没有送出或核实的记录", """
            SELECT p.id FROM packages p WHERE p.state = 'SENT' AND NOT EXISTS (SELECT FROM transfers t
                WHERE t.package_id = p.id AND t.event IN ('sent', 'resolved')) ORDER BY p.id"""),
        *_lines(conn, "数据包 {0} 为 {1}，其中 {2} 行却不是 {3}", """
            SELECT p.id, p.state, count(*), CASE WHEN p.state = 'SENT' THEN '已送出' ELSE 'PACKED' END
            FROM packages p JOIN package_rows pr ON pr.package_id = p.id JOIN rows r ON r.id = pr.row_id
            WHERE (p.state IN ('BUILT', 'APPROVED', 'SENDING', 'UNKNOWN') AND r.state <> 'PACKED' AND NOT p.companion)
               OR (p.state = 'SENT' AND r.state NOT IN ('SENT', 'PRINTED', 'REFUSED', 'DELIVERED', 'CLOSED')
                   AND NOT (p.companion AND r.state = 'PACKED'))
               OR (p.companion AND p.state <> 'REJECTED' AND r.state IN ('JUDGED', 'HELD', 'ACCEPTED', 'WITHDRAWN'))
            GROUP BY p.id, p.state ORDER BY p.id"""),
        *_lines(conn, "行 {0} 同时在 {1} 个有效的数据包中", """
            SELECT r.record_id, count(*) FROM rows r JOIN package_rows pr ON pr.row_id = r.id
            JOIN packages p ON p.id = pr.package_id AND p.state <> 'REJECTED'
            GROUP BY r.record_id, p.companion HAVING count(*) > 1 ORDER BY r.record_id"""),
        *_lines(conn, "行 {0} 为 {1}，却不在任何有效的数据包中", """
            SELECT r.record_id, r.state FROM rows r
            WHERE r.state IN ('PACKED', 'SENT', 'PRINTED', 'REFUSED', 'DELIVERED') AND NOT EXISTS (
                SELECT FROM package_rows pr JOIN packages p ON p.id = pr.package_id AND p.state <> 'REJECTED'
                WHERE pr.row_id = r.id AND NOT p.companion) ORDER BY r.record_id"""),
    ]  # fmt: skip


def unlawful_moves(conn: Connection) -> list[str]:
    """I6: only allowed moves, each recorded, each beginning where the last one ended; the law itself is in force."""
    steps = [(kind, *step) for kind, graph in TRANSITIONS.items() for step in graph]
    theirs = {tuple(row) for row in conn.execute(text("SELECT kind, from_state, to_state, errand FROM transitions"))}
    problems = ["数据库中的状态图与程序的不同"] if {(*step, ERRANDS.get(step, "")) for step in steps} != theirs else []
    problems += _lines(conn, "表 {0} 的触发器 {1} 已停用", """
        SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'
        ORDER BY tgname""")  # fmt: skip
    guarded = {"audit", "deliveries", "files", "moves", "packages", "print_events", "rows", "transfers"}
    problems += [
        f"表 {table} 缺少触发器"
        for table in sorted(
            guarded - set(conn.scalars(text("SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal")))
        )
    ]
    problems += _lines(conn, "角色 {0} 有权对表 {1} 执行 {2}，应当收回", """
        SELECT r.rolname, t.name, string_agg(p.word, '、' ORDER BY p.word)
        FROM pg_roles r, (VALUES ('audit', true), ('moves', true), ('transitions', true), ('print_events', false),
            ('transfers', false)) t(name, sealed),
            unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p(word)
        WHERE r.rolname IN ('certflow_app', 'certflow_app_rw', 'certflow_app_ro') AND (t.sealed OR p.word <> 'INSERT')
            AND has_table_privilege(r.oid, t.name, p.word)
        GROUP BY r.rolname, t.name ORDER BY 1, 2""")  # fmt: skip
    problems += _lines(conn, "{0} {1}：不允许的变更 {2} → {3}", """
        SELECT m.kind, m.object_id, m.from_state, m.to_state FROM moves m WHERE NOT EXISTS (
            SELECT FROM transitions t WHERE (t.kind, t.from_state, t.to_state) = (m.kind, m.from_state, m.to_state))
        ORDER BY m.id""")  # fmt: skip
    problems += _lines(conn, "{0} {1}：{2} → {3} 只有撤销时才允许，审计记录 {4} 却不是撤销", """
        SELECT m.kind, m.object_id, m.from_state, m.to_state, m.audit_seq FROM moves m
        JOIN transitions t ON (t.kind, t.from_state, t.to_state) = (m.kind, m.from_state, m.to_state) AND t.errand <> ''
        JOIN audit a ON a.seq = m.audit_seq
        WHERE t.errand IS DISTINCT FROM
            CASE WHEN pg_input_is_valid(a.payload, 'jsonb') THEN a.payload::jsonb ->> 'errand' END
        ORDER BY m.id""")  # fmt: skip
    problems += _lines(conn, "{0} {1}：第 {2} 次变更从 {3} 开始，之前却是 {4}", """
        SELECT kind, object_id, nth, from_state, before FROM (
            SELECT kind, object_id, from_state, row_number() OVER w AS nth, lag(to_state, 1, '') OVER w AS before
            FROM moves WINDOW w AS (PARTITION BY kind, object_id ORDER BY id)) m
        WHERE from_state <> before ORDER BY kind, object_id, nth""")  # fmt: skip
    return problems + _lines(conn, "{0} {1} 的状态是 {2}，记录的最后一次变更到 {3}", """
        WITH objects AS (
            SELECT 'file' AS kind, id, state FROM files UNION ALL SELECT 'row', id, state FROM rows
            UNION ALL SELECT 'package', id, state FROM packages
            UNION ALL SELECT 'delivery', id, state FROM deliveries
        ), last AS (
            SELECT DISTINCT ON (kind, object_id) kind, object_id, to_state FROM moves ORDER BY kind, object_id, id DESC)
        SELECT coalesce(o.kind, l.kind), coalesce(o.id, l.object_id), coalesce(o.state, '（已不存在）'),
               coalesce(l.to_state, '（没有记录）')
        FROM objects o FULL JOIN last l ON l.kind = o.kind AND l.object_id = o.id
        WHERE o.state IS DISTINCT FROM l.to_state ORDER BY 1, 2""")  # fmt: skip


def miscounted_packages(conn: Connection) -> list[str]:
    """I8: the count in the name = rows; photos = rows that name one; the order is without gaps."""
    problems = []
    for number, stem, told, photos, rows, named, last in conn.execute(text("""
            SELECT p.id, p.stem, p.row_count, p.photo_count, count(pr.row_id),
                   count(DISTINCT r.id_number) FILTER (WHERE r.photo_entry_id IS NOT NULL), max(pr.ordinal)
            FROM packages p LEFT JOIN package_rows pr ON pr.package_id = p.id LEFT JOIN rows r ON r.id = pr.row_id
            WHERE p.state <> 'REJECTED' GROUP BY p.id ORDER BY p.id""")):  # fmt: skip
        name = naming.parse(stem).name
        if name is None or name.count != rows or told != rows or (last is not None and last not in (rows, rows - 1)):
            problems.append(f"数据包 {number} 有 {rows} 行，与名称或台账的人数不符")
        if photos != named:
            problems.append(f"数据包 {number} 有 {photos} 张照片，{named} 人应有照片")
    return problems


def unrepeatable(settings: Settings, built: Mapping[int, str], rebuild: Rebuild) -> list[str]:
    """I8: building a package (id → digest) again gives the same bytes."""
    problems = []
    with vault.shelf(settings.work) as folder:
        target = Path(folder) / "package.zip"
        for number, digest in built.items():
            if rebuild(number, target) != digest:
                problems.append(f"数据包 {number} 重建后的摘要与台账不同")
            for file in Path(folder).iterdir():
                file.unlink()
    return problems


def unfounded_prints(conn: Connection) -> list[str]:
    """I9: a certificate gets a new print only by a return row about a row that was SENT, once.

    An undo takes a print back by a reversing entry: neither of the two is in force, and the return row says which undo.
    """
    return [
        *_lines(conn, "补发记录 {0} 与返回行、申报行或证书不符", f"""
            SELECT p.id FROM print_events p JOIN rows r ON r.id = p.row_id JOIN return_rows b ON b.id = p.return_row_id
            WHERE b.row_id IS DISTINCT FROM p.row_id OR NOT b.applied OR b.bucket IS DISTINCT FROM 'printed'
               OR r.certificate_id IS DISTINCT FROM p.certificate_id OR b.serial <> p.serial
               OR ({IN_FORCE}) <> (b.undo_id IS NULL)
               OR ({IN_FORCE} AND r.state NOT IN ('PRINTED', 'DELIVERED', 'CLOSED')) ORDER BY p.id"""),  # noqa: S608 (our own condition)
        *_lines(conn, "行 {0} 有 {1} 条有效的补发记录", f"""
            SELECT r.record_id, count(p.id) FROM rows r LEFT JOIN print_events p ON p.row_id = r.id AND {IN_FORCE}
            WHERE r.state IN ('PRINTED', 'DELIVERED') OR p.id IS NOT NULL
            GROUP BY r.record_id HAVING count(p.id) <> 1 ORDER BY r.record_id"""),  # noqa: S608 (as above)
        *_lines(conn, "证书编号 {0} 同时有 {1} 条有效的补发记录", f"""
            SELECT p.serial, count(*) FROM print_events p WHERE {IN_FORCE}
            GROUP BY p.serial HAVING count(*) > 1 ORDER BY p.serial"""),  # noqa: S608 (as above)
        *_lines(conn, "撤销 {0} 记为 {1} 行已印制、{2} 行退回，返回行却是 {3} 行、{4} 行", """
            SELECT u.id, u.printed, u.refused, count(b.id) FILTER (WHERE b.bucket = 'printed'),
                   count(b.id) FILTER (WHERE b.bucket = 'refused')
            FROM return_undos u LEFT JOIN return_rows b ON b.undo_id = u.id AND b.applied
            GROUP BY u.id HAVING (u.printed, u.refused) <> (count(b.id) FILTER (WHERE b.bucket = 'printed'),
                count(b.id) FILTER (WHERE b.bucket = 'refused')) ORDER BY u.id"""),
        *_lines(conn, "行 {0} 未经送出就有补发记录", """
            SELECT r.record_id FROM print_events e JOIN rows r ON r.id = e.row_id WHERE NOT EXISTS (
                SELECT FROM moves m WHERE m.kind = 'row' AND m.object_id = r.id AND m.to_state = 'SENT')
            ORDER BY r.record_id"""),
    ]  # fmt: skip


def overdue(conn: Connection) -> list[str]:
    """I12: nothing waits for a person longer than its limit without being named here."""
    now = dt.datetime.now(dt.UTC)
    limits = {"held": holds.LIMIT_DAYS, "unknown": UNKNOWN_DAYS}
    since = {f"{name}_at": f"{now - dt.timedelta(days=days):%Y-%m-%dT%H:%M:%S}" for name, days in limits.items()}
    loose = [one for one in holds.queue(conn) if one.kind == "photo" and one.age_days > holds.LIMIT_DAYS]
    problems = [f"照片 {one.record} 待人工确认已有 {one.age_days} 天" for one in loose]
    problems += _lines(
        conn,
        "领取凭证 {0} 收到已超过 {1} 天，还没有关联到证书",
        """
        SELECT id, CAST(:days AS integer) FROM pickup_files f WHERE received_at < now() - make_interval(days => :days)
        AND NOT EXISTS (SELECT FROM pickup_links l WHERE l.file_id = f.id
            AND NOT EXISTS (SELECT FROM pickup_unlinks u WHERE u.link_id = l.id))
        AND NOT EXISTS (SELECT FROM purged p WHERE p.kind = 'pickup_files' AND p.object_id = f.id) ORDER BY id""",
        days=holds.LIMIT_DAYS,
    )
    return problems + _lines(conn, "{0} {1} 个处于 {2} 已超过 {3} 天，最早的编号 {4}", """
        SELECT o.kind, count(*), o.state, o.days, min(o.id) FROM (
            SELECT 'file' AS kind, id, state, CAST(:held AS integer) AS days, CAST(:held_at AS text) AS limit_at
            FROM files WHERE state IN ('HELD', 'WAITING') AND lane = 'month'
            UNION ALL SELECT 'row', id, state, :held, :held_at FROM rows WHERE state = 'HELD'
            UNION ALL SELECT 'delivery', id, state, :held, :held_at FROM deliveries
            WHERE state IN ('RETURNED', 'WITHHELD')
            UNION ALL SELECT 'package', id, state, :unknown, :unknown_at FROM packages WHERE state = 'UNKNOWN') o
        JOIN LATERAL (SELECT m.audit_seq FROM moves m WHERE m.kind = o.kind AND m.object_id = o.id
            ORDER BY m.id DESC LIMIT 1) m ON true
        JOIN audit a ON a.seq = m.audit_seq
        WHERE CASE WHEN pg_input_is_valid(a.payload, 'jsonb') THEN a.payload::jsonb ->> 'at' END < o.limit_at
        GROUP BY o.kind, o.state, o.days ORDER BY 1, 3""", **limits, **since)  # fmt: skip


def undecided(conn: Connection) -> list[str]:
    """I12, returns: one that is held, or whose answers differ from what was sent or applied, is a person's matter."""
    return [
        f"返回文件 {one.return_id} {f'有 {one.rows} 行与发出的或入账的不同，' if one.rows else ''}待人工处理已有"
        f" {one.age_days} 天，见 certflow returns list"
        for one in reprints.waiting(conn)
        if one.age_days > holds.LIMIT_DAYS
    ]


def unanswered(conn: Connection, days: int) -> list[str]:
    """I12, the authority: what was sent so many days ago and has no answer is named until it has one."""
    late = [one for one in reprints.missing(conn) if one.age_days >= days]
    groups = sorted({(one.month, one.batch, one.exam_code) for one in late})
    return [
        f"{month} 批次 {batch} 考试 {exam}：{sum(one.rows for one in found)} 行上报已满 {days} 天没有结果"
        f"（最久 {max(one.age_days for one in found)} 天），名单见 certflow returns missing --days {days}"
        for month, batch, exam in groups
        for found in [[one for one in late if (one.month, one.batch, one.exam_code) == (month, batch, exam)]]
    ]


def _lines(conn: Connection, template: str, query: str, **values: object) -> list[str]:
    return [template.format(*row) for row in conn.execute(text(query), values)]
