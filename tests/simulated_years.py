"""Months of judged submissions written straight into the ledger, with known answers: for tests of the reports.

Each request of each city has a *story*: what its row was found to be in version 1 and in version 2. What the figures
must be follows from the stories alone, without SQL.
"""

import datetime as dt
import hashlib
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from sqlalchemy import text

from certflow.month import SHANGHAI, Month
from certflow.registry.ledger import Actor, Registry

STORIES = {
    # name: ((verdict, rule) of version 1, of version 2; None: not sent again), weight
    "sound": ((("ACCEPTED", ""), None), 70),
    "corrected": ((("RETURNED", "DB-NAME"), ("ACCEPTED", "")), 8),
    "never corrected": ((("RETURNED", "PHOTO-SIZE"), None), 4),
    "wrong twice": ((("RETURNED", "ID-FORM"), ("RETURNED", "ID-FORM")), 3),
    "held": ((("HELD", "ID-AGE"), None), 4),
    "held, then right": ((("HELD", "ID-SEX"), ("ACCEPTED", "")), 3),
    "warned": ((("ACCEPTED", "DB-NAME-KEY"), None), 4),
    "proof": ((("PROOF", "EXAM-CANCELLED"), None), 2),
    "sent twice": ((("ACCEPTED", ""), ("IGNORED", "DUP-ROW")), 2),
}
SEVERITY = {
    "DB-NAME": "error", "PHOTO-SIZE": "error", "ID-FORM": "error", "ZIP-DAMAGED": "error", "ID-AGE": "hold",
    "ID-SEX": "hold", "DB-NAME-KEY": "warning", "EXAM-CANCELLED": "info", "DUP-ROW": "info",
}  # fmt: skip
EXAMS = ("034", "901")


@dataclass
class Expected:
    """What the stories come to."""

    requests: int = 0
    faulty: int = 0
    held: int = 0
    on_time: int = 0
    unresolved: int = 0
    versions: int = 0
    causes: Counter = field(default_factory=Counter)


@dataclass
class Years:
    """A simulated stretch of months; `expected` by (month, account, exam), `files` by (month, account)."""

    registry: Registry
    accounts: list[str]
    seed: int = 7
    expected: dict[tuple[str, str, str], Expected] = field(default_factory=lambda: defaultdict(Expected))
    files: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    nil: set[tuple[str, str]] = field(default_factory=set)
    shifts: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Account → story that most of its requests have, from a month on, until the month before another."""
    _serial: int = 0

    def run(self, first: str, months: int, *, rows: int = 10) -> None:
        """Write `months` months from `first` on, about `rows` requests per city and exam."""
        chance = random.Random(self.seed)
        names = list(STORIES)
        for number in range(months):
            month = str(Month.parse(first).plus(number))
            plan = []
            for at, account in enumerate(self.accounts):
                if chance.random() < 0.05:
                    if chance.random() < 0.5:
                        self.nil.add((month, account))
                    continue
                late = chance.random() < 0.1
                for exam in EXAMS:
                    count = chance.randint(rows // 2, rows + at)
                    story, since, until = self.shifts.get(account, ("", "", ""))
                    often = [200 if name == story and since <= month < until else STORIES[name][1] for name in names]
                    plan.append((account, exam, late, chance.choices(names, often, k=count)))
                if chance.random() < 0.15:
                    plan.append((account, "", late, []))
            self._write(month, plan)

    def _write(self, month, plan):
        files, subs, rows, findings, moves = [], [], [], [], []
        end = dt.datetime.combine(_last_day(month), dt.time(23, 0), SHANGHAI)
        for account, exam, late, stories in plan:
            came = end + dt.timedelta(hours=3) if late else end
            if not exam:  # a file that could not be opened
                files.append((self._digest(), account, "submission", None, came, "RETURNED"))
                findings.append((files[-1][0], None, None, "ZIP-DAMAGED", "file"))
                seen = self.files[f"{Month.of(came)}", account]
                seen[0] += 1
                seen[1] += 1
                continue
            want = self.expected[month, account, exam]
            again = any(STORIES[story][0][1] for story in stories)
            want.versions = 2 if again else 1
            numbers = [self._number(month, exam) for _ in stories]
            for version in range(want.versions):
                digest = self._digest()
                files.append((digest, account, "submission", month, came + dt.timedelta(minutes=version), "JUDGED"))
                subs.append((digest, month, account, exam, version + 1))
                self.files[month, account][0] += 1
                for at, (story, number) in enumerate(zip(stories, numbers, strict=True)):
                    told = STORIES[story][0][version]
                    if told is None:
                        continue
                    record = f"{account}-{month}-{exam}-{version}{at:05d}"
                    rows.append((digest, record, at + 2, number))
                    moves.append((record, told[0]))
                    if told[1]:
                        findings.append((digest, record, at + 2, told[1], "row"))
            self._expect(want, stories, late)
        silent = sorted(account for when, account in self.nil if when == month)
        files += [(self._digest(), account, "nil", month, end, "JUDGED") for account in silent]
        with self.registry.begin(Actor("simulation")) as conn:
            _insert(conn, files, subs, rows, findings, moves)

    @staticmethod
    def _expect(want, stories, late):
        for story in stories:
            told = [one for one in STORIES[story][0] if one]
            verdicts = [verdict for verdict, _ in told]
            want.requests += 1
            want.faulty += "RETURNED" in verdicts
            want.held += "HELD" in verdicts
            want.on_time += not late
            want.unresolved += story in ("never corrected", "wrong twice", "held")
            for rule in {rule for verdict, rule in told if rule and verdict != "IGNORED"}:
                want.causes[rule] += 1

    def _digest(self):
        self._serial += 1
        return hashlib.sha256(f"{self.seed}-{self._serial}".encode()).hexdigest()

    def _number(self, month, exam):
        self._serial += 1
        return f"{month}{exam}37{self._serial:07d}"


def _last_day(month):
    following = Month.parse(month).plus(1)
    return dt.date(following.year, following.number, 1) - dt.timedelta(days=1)


def _insert(conn, files, subs, rows, findings, moves):
    def bulk(sql, lines, **kinds):
        if lines:
            columns = {name: list(values) for name, values in zip(kinds, zip(*lines, strict=True), strict=True)}
            arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in kinds.items())
            conn.execute(text(f"{sql} FROM unnest({arrays}) AS v({', '.join(kinds)})"), columns)

    bulk(
        "INSERT INTO files (account, lane, name, raw_name, sha256, size, received_at, kind, month)"
        " SELECT account, 'month', 'x.zip', 'x', digest, 1, came, kind, month",
        [line[:5] for line in files], digest="text", account="text", kind="text", month="text", came="timestamptz",
    )  # fmt: skip
    bulk(
        "INSERT INTO submissions (month, account, city, exam_code, version, lane, stem, verdict, rule_set)"
        " SELECT month, account, '市', exam, version, 'month', 'x', 'partial', '2020'",
        [line[1:] for line in subs], month="text", account="text", exam="text", version="int",
    )  # fmt: skip
    conn.execute(
        text(
            "INSERT INTO submission_files (submission_id, file_id) SELECT s.id, f.id"
            " FROM unnest(CAST(:d AS text[]), CAST(:m AS text[]), CAST(:a AS text[]), CAST(:e AS text[]),"
            " CAST(:v AS int[])) AS v(digest, month, account, exam, version)"
            " JOIN files f ON f.sha256 = v.digest"
            " JOIN submissions s ON (s.month, s.account, s.exam_code, s.version) ="
            " (v.month, v.account, v.exam, v.version)"
        ),
        dict(zip("dmaev", ([line[at] for line in subs] for at in range(5)), strict=True)),
    )
    for state in ("UNPACKED", None):
        conn.execute(
            text(
                "UPDATE files f SET state = coalesce(:state, v.state)"
                " FROM unnest(CAST(:d AS text[]), CAST(:s AS text[])) AS v(digest, state) WHERE f.sha256 = v.digest"
            ),
            {"state": state, "d": [line[0] for line in files], "s": [line[5] for line in files]},
        )
    conn.execute(
        text(
            "INSERT INTO rows (submission_id, record_id, row_no, sent, management_no, name, id_number, id_type, sex,"
            " level, specialty, birth_month, approved_on, city)"
            " SELECT l.submission_id, v.record, v.row_no, '{}', v.number, '某', '', '', '', '', '', '', '', ''"
            " FROM unnest(CAST(:d AS text[]), CAST(:r AS text[]), CAST(:n AS int[]), CAST(:m AS text[]))"
            " AS v(digest, record, row_no, number)"
            " JOIN files f ON f.sha256 = v.digest JOIN submission_files l ON l.file_id = f.id"
        ),
        dict(zip("drnm", ([line[at] for line in rows] for at in range(4)), strict=True)),
    )
    conn.execute(
        text(
            "UPDATE rows r SET state = v.state FROM unnest(CAST(:r AS text[]), CAST(:s AS text[])) AS v(record, state)"
            " WHERE r.record_id = v.record"
        ),
        {"r": [record for record, _ in moves], "s": [state for _, state in moves]},
    )
    conn.execute(
        text(
            "INSERT INTO findings (file_id, submission_id, row_id, rule, severity, scope, row_no, message, masked,"
            " remedy, rule_set)"
            " SELECT f.id, r.submission_id, r.id, v.rule, v.severity, v.scope, v.row_no, '说明', '说明', '办法', '2020'"
            " FROM unnest(CAST(:d AS text[]), CAST(:r AS text[]), CAST(:n AS int[]), CAST(:u AS text[]),"
            " CAST(:s AS text[]), CAST(:p AS text[])) AS v(digest, record, row_no, rule, severity, scope)"
            " JOIN files f ON f.sha256 = v.digest LEFT JOIN rows r ON r.record_id = v.record"
        ),
        {
            "d": [line[0] for line in findings], "r": [line[1] for line in findings],
            "n": [line[2] for line in findings], "u": [line[3] for line in findings],
            "s": [SEVERITY[line[3]] for line in findings], "p": [line[4] for line in findings],
        },
    )  # fmt: skip
