"""Everything the ledger holds about one person, place by place, and what of it may be erased (个人信息保护法 44–47).

A place is one query; its columns are named as people read them. What has to be kept says why. What lies in a file
together with other people's data goes when the file's time of keeping is over (`registry.retention`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from certflow.registry import retention

_NAMED = r"""EXISTS (SELECT FROM unnest(CAST({among} AS text[])) one WHERE upper({text}) ~ format(
    CASE WHEN length(one) < 15 THEN '(^|[^0-9A-Z])%s($|[^0-9A-Z])' ELSE '(^|[^0-9])%s($|[^0-9X])' END,
    regexp_replace(upper(one), '(\W)', '\\\1', 'g')))"""
"""Whether a text holds one of these numbers, and not as a part of a longer one: that is another person's."""
_NUMBERS = ":known || CAST(:numbers AS text[])"

_LIFE = "与证书数据库同为证书管理的法定记录，长期保存"
_TERM = "文件中另有他人的数据，保存期限届满时整份删除"


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of thing about the person: `query` gives it with Chinese headings; `kept`: why it is not erased."""

    name: str
    word: str
    query: str
    kept: str = ""


PLACES = (
    Place("certificates", "证书数据库", """
        SELECT management_no AS 管理号, name AS 姓名, id_number AS 证件号码, id_type AS 证件类别, sex AS 性别,
            exam_name AS 考试名称, level AS 级别, specialty AS 专业, birth_month AS 出生年月, approved_on AS 批准日期,
            city AS 报名市, serial AS 证书编号
        FROM certificates WHERE id = ANY(:certificates) ORDER BY id""", _LIFE),
    Place("rows", "补换申请（台账）", """
        SELECT r.record_id AS 记录编号, s.month AS 申报年月, s.city AS 报送单位, r.state AS 状态,
            r.management_no AS 管理号,
            r.name AS 姓名, r.id_number AS 证件号码, r.level AS 级别, r.specialty AS 专业, r.approved_on AS 批准日期
        FROM rows r JOIN submissions s ON s.id = r.submission_id WHERE r.id = ANY(:rows) ORDER BY r.id""", _LIFE),
    Place("sent", "地市报送的原值", """
        SELECT record_id AS 记录编号,
            sent::text AS 内容 FROM rows WHERE id = ANY(:rows) AND sent <> '{}' ORDER BY id"""),
    Place("findings", "核对发现的问题", """
        SELECT r.record_id AS 记录编号, n.rule AS 规则, n.message AS 说明, n.sent AS 地市的值, n.registry AS 数据库的值
        FROM findings n JOIN rows r ON r.id = n.row_id WHERE r.id = ANY(:rows)
        AND (n.sent IS NOT NULL OR n.registry IS NOT NULL OR n.message <> n.masked) ORDER BY n.id"""),
    Place("holds", "待核实的决定", """
        SELECT record AS 记录, decision AS 决定, by AS 由谁, reason AS 理由, at::text AS 时间 FROM hold_decisions
        WHERE kind = 'row' AND object_id = ANY(:rows) OR kind = 'photo' AND object_id = ANY(:entries) ORDER BY id""",
          "决定的依据，不含姓名和证件号码，随台账保存"),
    Place("entries", "压缩包中的照片文件名", """
        SELECT file_id AS 文件, ordinal AS 序号, name AS 名称, size AS 字节 FROM entries
        WHERE id = ANY(:entries) AND name <> '' ORDER BY id"""),
    Place("files", "报送的压缩包、申请表（原件）", """
        SELECT f.id AS 文件, f.name AS 名称, f.month AS 申报年月, f.account AS 账号, f.sha256 AS 摘要, f.size AS 字节
        FROM files f WHERE f.id = ANY(:files)
        AND NOT EXISTS (SELECT FROM purged p WHERE p.kind = 'files' AND p.object_id = f.id) ORDER BY f.id""", _TERM),
    Place("packages", "上报的数据包", """
        SELECT p.file_name AS 数据包, p.state AS 状态, p.sha256 AS 摘要, pr.ordinal AS 序号
        FROM package_rows pr JOIN packages p ON p.id = pr.package_id
        WHERE pr.row_id = ANY(:rows) ORDER BY p.id""", _TERM),
    Place("return_rows", "上级返回的行", """
        SELECT t.name AS 返回文件, b.row_no AS 行, b.management_no AS 管理号, b.name AS 姓名, b.id_number AS 证件号码,
            b.serial AS 证书编号, b.result AS 结果, b.reason AS 原因
        FROM return_rows b JOIN returns t ON t.id = b.return_id
        WHERE b.id = ANY(:return_rows) AND (b.name <> '' OR b.id_number <> '') ORDER BY b.id"""),
    Place("print_events", "补发登记", """
        SELECT serial AS 证书编号, mark AS 标记, printed_on::text AS 印制日期, voids AS 作废编号,
            recorded_at::text AS 登记时间
        FROM print_events WHERE certificate_id = ANY(:certificates) OR row_id = ANY(:rows) ORDER BY id""", _LIFE),
    Place("proofs", "证明登记簿", """
        SELECT number AS 证明编号, kind AS 种类, purpose AS 用途, issued_at::text AS 开具时间, printed::text AS 内容,
            revoked_at::text AS 撤销时间
        FROM proofs WHERE row_id = ANY(:rows) OR certificate_id = ANY(:certificates) ORDER BY id""",
          "用证单位仍可凭验证码核对，登记簿长期保存"),
    Place("proof_requests", "证明申请", """
        SELECT file_id AS 文件, row_no AS 行, management_no AS 管理号, purpose AS 用途, reason AS 不予开具的原因,
            decided_at::text AS 时间
        FROM proof_requests WHERE management_no = ANY(:numbers) ORDER BY id""", "证明的依据，随登记簿保存"),
    Place("appeals", "申诉", """
        SELECT l.id AS 申诉, r.record_id AS 记录编号, l.by AS 由谁, l.reason AS 理由, l.at::text AS 时间,
            CASE WHEN d.upheld THEN '成立' WHEN d.upheld IS NULL THEN '' ELSE '不成立' END AS 结果, d.reason AS 裁定理由
        FROM appeals l JOIN findings n ON n.id = l.finding_id JOIN rows r ON r.id = n.row_id
        LEFT JOIN appeal_decisions d ON d.appeal_id = l.id WHERE r.id = ANY(:rows) ORDER BY l.id""",
          "评分的依据，只增不改"),
    Place("acceptances", "受理窗口登记", """
        SELECT account AS 账号, form AS 表格, items::text AS 材料, state AS 状态, at::text AS 时间
        FROM acceptances WHERE certificate_id = ANY(:certificates) ORDER BY id""", "受理的依据，只存材料的摘要"),
    Place("old_certificates", "旧版证书发放", f"""
        SELECT reference AS 档案号, form AS 登记表, fields::text AS 内容, state AS 状态, at::text AS 时间
        FROM old_certificates WHERE {_NAMED.format(text="fields::text", among=":known")} ORDER BY id""",  # noqa: S608 (our own words)
          "旧版证书发放的登记，随台账保存"),
    Place("deliveries", "证书发放", """
        SELECT r.management_no AS 管理号, d.state AS 状态, d.waybill AS 运单号,
            d.pushed_at::text AS 推送EMS,
            d.kept_at::text AS 入库
        FROM deliveries d JOIN rows r ON r.id = d.row_id WHERE d.id = ANY(:deliveries) ORDER BY d.id""",
          "每本证书去向可查（通知第一条），随台账保存"),
    Place("tracking", "EMS 跟踪", """
        SELECT waybill AS 运单号, state AS 状态, happened_at::text AS 时间 FROM delivery_events
        WHERE delivery_id = ANY(:deliveries) ORDER BY id""", "每本证书去向可查（通知第一条），随台账保存"),
    Place("choices", "收件人、电话、地址", """
        SELECT management_no AS 管理号, way AS 领取方式, recipient AS 收件人, phone AS 电话, postcode AS 邮编,
            address AS 地址
        FROM delivery_choices WHERE management_no = ANY(:numbers)
        AND recipient || phone || postcode || address <> '' ORDER BY id"""),
    Place("orders", "EMS 订单清单", """
        SELECT DISTINCT o.name AS 清单, d.order_line AS 行, o.sha256 AS 摘要 FROM delivery_orders o
        JOIN deliveries d ON d.order_id = o.id WHERE d.id = ANY(:deliveries) ORDER BY 1, 2""", _TERM),
    Place("evidence", "领取凭证", f"""
        SELECT DISTINCT f.id AS 文件,
            CASE WHEN {_NAMED.format(text="f.name", among=_NUMBERS)} THEN f.name ELSE '' END AS 名称,
            f.kind AS 种类, f.sha256 AS 摘要, f.received_at::text AS 收到时间
        FROM pickup_files f JOIN pickup_links k ON k.file_id = f.id WHERE k.delivery_id = ANY(:deliveries)
        AND NOT EXISTS (SELECT FROM pickup_unlinks u WHERE u.link_id = k.id)
        AND NOT EXISTS (SELECT FROM purged p WHERE p.kind = 'pickup_files' AND p.object_id = f.id)
        ORDER BY f.id""",  # noqa: S608 (our own words)
          "证书交到本人的凭据，保存期限届满时删除"),
    Place("loose_evidence", "还没有关联的领取凭证", """
        SELECT id AS 文件, name AS 名称, kind AS 种类, sha256 AS 摘要, received_at::text AS 收到时间
        FROM pickup_files WHERE id = ANY(:loose) ORDER BY id""", "查明是谁的凭证、关联以后，随领取凭证保存"),
    Place("verifications", "被核对的记录", """
        SELECT at::text AS 时间, requester AS 用证单位, reason AS 事由, result AS 结果 FROM verifications
        WHERE certificate_id = ANY(:certificates) ORDER BY id""", "谁核对过本人证书的记录，只增不改"),
    Place("moves", "状态变更（审计）", """
        SELECT m.kind AS 对象, m.object_id AS 编号, m.from_state AS 从, m.to_state AS 到,
            m.audit_seq AS 审计记录 FROM moves m
        WHERE m.kind = 'row' AND m.object_id = ANY(:rows) OR m.kind = 'delivery' AND m.object_id = ANY(:deliveries)
        ORDER BY m.id""", "审计链，只增不改，不含姓名和证件号码"),
)  # fmt: skip

ANSWERS = Place("answers", "退回单、回执、照片总览（文件）", "", _TERM)
"""What lies in the home outside the store; `reports.person` finds it by the files it answers."""

_IDS = {
    "certificates": "SELECT id FROM certificates WHERE id_number = ANY(:known)",
    "rows": """SELECT id FROM rows WHERE id_number = ANY(:known) OR certificate_id = ANY(:certificates)
        OR sent ->> 'ZJHM' = ANY(:known)""",
    "numbers": """SELECT management_no FROM rows WHERE id = ANY(:rows) AND management_no <> ''
        UNION SELECT management_no FROM certificates WHERE id = ANY(:certificates) AND management_no IS NOT NULL""",
    "entries": f"""SELECT id FROM entries WHERE id IN (SELECT photo_entry_id FROM rows WHERE id = ANY(:rows))
        OR role = 'photo' AND {_NAMED.format(text="name", among=":known")}""",  # noqa: S608 (as above)
    "files": """SELECT x.file_id FROM submission_files x JOIN rows r ON r.submission_id = x.submission_id
        WHERE r.id = ANY(:rows) UNION SELECT file_id FROM entries WHERE id = ANY(:entries)
        UNION SELECT file_id FROM proof_requests WHERE management_no = ANY(:numbers)""",
    "deliveries": "SELECT id FROM deliveries WHERE row_id = ANY(:rows)",
    "loose": f"""SELECT f.id FROM pickup_files f WHERE NOT EXISTS (
            SELECT FROM pickup_links k WHERE k.file_id = f.id
                AND NOT EXISTS (SELECT FROM pickup_unlinks u WHERE u.link_id = k.id))
        AND {_NAMED.format(text="f.name", among=_NUMBERS)}""",  # noqa: S608 (as above)
    "return_rows": "SELECT id FROM return_rows WHERE row_id = ANY(:rows) OR id_number = ANY(:known)",
}
"""How the person's things are found, each by those before it."""

_UNDER_WAY = f"""
SELECT '申请 ' || r.record_id || '（' || r.state || '）' FROM rows r
    WHERE r.id = ANY(:rows) AND r.state NOT IN {retention.ENDS}
UNION ALL SELECT '文件 ' || f.id || '（' || f.state || '）' FROM files f
    WHERE f.id = ANY(:files) AND f.state IN ('RECEIVED', 'WAITING', 'UNPACKED', 'HELD')
UNION ALL SELECT '照片 ' || e.file_id || '-' || e.ordinal || '（待核）' FROM entries e
    WHERE e.id = ANY(:entries) AND e.outcome = 'held'
UNION ALL SELECT '申诉 ' || l.id || '（未决）' FROM appeals l JOIN findings n ON n.id = l.finding_id
    WHERE n.row_id = ANY(:rows) AND NOT EXISTS (SELECT FROM appeal_decisions d WHERE d.appeal_id = l.id)
UNION ALL SELECT '返回文件 ' || t.id || '（' || t.state || '）' FROM returns t
    WHERE t.state IN ('RECEIVED', 'RECONCILED', 'HELD')
    AND t.id IN (SELECT return_id FROM return_rows WHERE id = ANY(:return_rows))
"""  # noqa: S608 (our own words)

_ERASED = {
    "sent": "UPDATE rows SET sent = '{}' WHERE id = ANY(:rows) AND sent <> '{}'",
    "findings": """UPDATE findings SET message = masked, sent = NULL, registry = NULL WHERE row_id = ANY(:rows)
        AND (sent IS NOT NULL OR registry IS NOT NULL OR message <> masked)""",
    "entries": "UPDATE entries SET name = '', raw_name = '' WHERE id = ANY(:entries) AND name <> ''",
    "return_rows": """UPDATE return_rows SET name = '', id_number = '' WHERE id = ANY(:return_rows)
        AND (name <> '' OR id_number <> '')""",
    "choices": """UPDATE delivery_choices SET recipient = '', phone = '', postcode = '', address = ''
        WHERE management_no = ANY(:numbers) AND recipient || phone || postcode || address <> ''""",
}
"""Place → what empties it."""

_ALONE = """
SELECT f.id FROM files f WHERE f.id = ANY(:files)
AND EXISTS (SELECT FROM submission_files x JOIN rows r ON r.submission_id = x.submission_id WHERE x.file_id = f.id)
AND NOT EXISTS (SELECT FROM submission_files x JOIN rows r ON r.submission_id = x.submission_id
    WHERE x.file_id = f.id AND r.id <> ALL(:rows))
AND NOT EXISTS (SELECT FROM entries e WHERE e.file_id = f.id AND e.role = 'photo' AND e.id <> ALL(:entries))
"""

Ids = Mapping[str, list[Any]]
"""What `find` gives: ids by kind, 管理号 under ``numbers``, the spellings looked for under ``known``."""


def find(conn: Connection, known: Sequence[str]) -> Ids:
    """Ids of everything about the person whose document number has one of these spellings (upper case)."""
    found: dict[str, list[Any]] = {"known": list(known)}
    for name, query in _IDS.items():
        found[name] = sorted(conn.scalars(text(query), found))
    return found


def look(conn: Connection, place: Place, ids: Ids) -> tuple[list[str], list[list[str]]]:
    """The headings of a place and what it holds about the person."""
    result = conn.execute(text(place.query), dict(ids))
    return list(result.keys()), [["" if value is None else str(value) for value in row] for row in result]


def under_way(conn: Connection, ids: Ids) -> list[str]:
    """What is not closed yet, in words without personal data."""
    return list(conn.scalars(text(_UNDER_WAY), dict(ids)))


def erase(conn: Connection, ids: Ids, now: dt.datetime) -> tuple[dict[str, int], list[int]]:
    """Empty what may be emptied, and purge the originals that hold nobody else: lines by place, ids of those files.

    The caller has seen that nothing is `under_way`, and unlinks what is gone (`purge.sweep`).
    """
    alone = set(conn.scalars(text(_ALONE), dict(ids)))
    originals = [one for kind in ("originals", "trials") for one in retention.due(conn, kind, now) if one.id in alone]
    done = {place: conn.execute(text(query), dict(ids)).rowcount for place, query in _ERASED.items()}
    retention.purge(conn, originals)
    return done | {"files": len(originals)}, [one.id for one in originals]
