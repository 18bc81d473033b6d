"""One frozen settings object, read from the environment once; nobody else reads the environment.

Every variable is ``CERTFLOW_<FIELD>`` in capitals; `Settings.load` says which one is wrong and what it takes. A secret
need not stand in the environment: ``CERTFLOW_<FIELD>_FILE`` names a file whose first line is the value.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import unquote, urlsplit

from certflow import vault
from certflow.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Remote:
    """One SFTP login. Key login only; the host key is pinned in `known_hosts` (OpenSSH format)."""

    host: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    root: str = "/"

    @classmethod
    def parse(cls, url: str, key: Path, known_hosts: Path) -> "Remote":
        """Read ``sftp://user@host:port/root``; ConfigurationError when a part is missing."""
        parts = urlsplit(url)
        if parts.scheme != "sftp" or not parts.hostname or not parts.username:
            message = "SFTP 地址写成 sftp://用户@主机:端口/文件夹"
            raise ConfigurationError(message)
        return cls(
            parts.hostname, parts.port or 22, unquote(parts.username), key, known_hosts, unquote(parts.path) or "/"
        )


@dataclass(frozen=True, slots=True)
class Folders:
    """Names of the folders on the SFTP servers (DESIGN §5)."""

    inbox: str = "报送"
    trial: str = "试投"
    received: str = "已接收"
    replies: str = "回执"
    proofs: str = "证明"
    upward: str = "上报"
    returned: str = "返回"
    archive: str = "归档"


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard caps of intake. Sizes in bytes, times in seconds."""

    archive_bytes: int = 2 << 30
    """Largest zip."""
    unpacked_bytes: int = 4 << 30
    """Largest sum of bytes produced from one zip."""
    entry_bytes: int = 64 << 20
    entries: int = 65_000
    ratio: int = 200
    """Largest ratio produced : compressed for entries above 1 MiB."""
    workbook_bytes: int = 64 << 20
    workbook_rows: int = 65_535
    workbook_columns: int = 256
    jail_memory: int = 1 << 30
    jail_cpu_seconds: int = 5
    jail_wall_seconds: int = 60
    photo_bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after which a thing that is closed may be deleted (`registry.retention`); 0: it is kept for ever."""

    originals: int = 1095
    """Zips and request files of the cities, with the photos in them, since the last row in them was closed."""
    trials: int = 30
    """What came through 试投."""
    returns: int = 1095
    """Files of the authority."""
    deliveries: int = 365
    """Lists with addresses, order lists, tracking; the addresses in the database with them."""
    evidence: int = 1825
    """Files of document camera, signature pad and ID reader; unclaimed paper is kept as long (DOMAIN §3.10)."""
    packages: int = 1095
    """Packages that were sent, and the paper forms made from them; the signed manifests stay."""
    feedback: int = 365
    """退回单, receipts and lists in the protected folder."""
    contact_sheets: int = 180
    work: int = 7
    """Temporary files that a killed process left."""
    logs: int = 180
    """Logs of Airflow's tasks: six months at least (网络安全法)."""


_GROUPS: Mapping[str, Any] = {"folders": Folders, "limits": Limits, "retention": Retention}
"""Settings whose parts have variables of their own."""
_OF_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT|PORT)(_[0-9A-Z_]+)?$")
"""What Kubernetes tells every container of a service whose name begins like our variables."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that may differ between two installations."""

    home: Path = Path("var")
    """Everything the program writes lies below it."""
    database_url: str | None = None
    """PostgreSQL by URL; None: the embedded server below `home`."""
    database_owner_url: str | None = None
    """The same database with the login that owns its tables, for migrations alone; None: `database_url` owns them."""
    expectations: Path | None = None
    """Folder with the rule suites; None: the one that came with the program."""
    city_sftp: Remote | None = None
    """The province's own login on the SFTP server of the cities; it sees ``/<account>/…``."""
    authority_sftp: Remote | None = None
    """Our login at the printing authority."""
    folders: Folders = field(default_factory=Folders)
    limits: Limits = field(default_factory=Limits)
    retention: Retention = field(default_factory=Retention)
    province: str = "山东省"
    """Stands in the city's place in the names of our own packages (DOMAIN §2)."""
    approval: Literal["never", "on_anomaly", "always"] = "on_anomaly"
    two_person: Literal["no", "yes"] = "no"
    """Where a person approves: does it take two, 经办 and another one as 复核."""
    paper_blocks: Literal["no", "yes"] = "no"
    """Whether nobody may approve a batch before all stamped paper has arrived and agrees."""
    partial_files: Literal["accept", "hold"] = "accept"
    nested_zip: Literal["refuse", "one-level"] = "refuse"
    """Whether a city may send one zip of exam zips, as agreed with the cities (Z16)."""
    done_marker: Literal["no", "yes"] = "no"
    """Whether files on the cities' server are complete only with ``<name>.ok`` beside them, and nothing is renamed
    there: for servers that cannot (T09)."""
    packaging: Literal["merged", "per_city", "both"] = "merged"
    """One package per exam for the whole province, one per exam and city, or both: the cities' as copies beside it."""
    package_zips: Literal["one", "two"] = "one"
    """Workbook and photos of a package in one zip, or the photos in a second one, ``<stem>.JPG.zip``."""
    package_rows: int = 65_000
    """Most rows of one package; what is beyond goes into further, numbered ones (an .XLS ends at 65 535 rows, a zip
    without zip64 at 65 534 entries)."""
    zip_names: Literal["utf-8", "gb18030"] = "utf-8"
    """How our packages write entry names; ``gb18030`` for receivers that do not know UTF-8 names."""
    rule_set: str = "2020"
    """Name of a dated rule set (``reference/rule_sets.toml``) for every month, or ``dated``: each month by the rules of
    its time. The notice of 2020 holds until the operator switches on what came later (DOMAIN §3.10)."""
    intake_minutes: int = 5
    """Pause between two rounds of intake."""
    look_seconds: float = 20.0
    """Pause between the two looks at a city's folder."""
    transfer_timeout: float = 60.0
    """Longest silence on an SFTP channel."""
    photo_threads: int = 2
    faces: Literal["off", "on"] = "off"
    """Whether faces in photos are counted and placed; takes the extra ``faces`` and about 7 ms of CPU per photo."""
    fonts: Path | None = None
    """Folder with further font files for rare characters; None: ``fonts`` below `home`, where it exists."""
    proof_prefix: str = "鲁人考证"
    """Stands before year and serial number of every proof."""
    proof_ends: Literal["printed", "delivered"] = "printed"
    """What ends a 成绩合格证明: the new certificate came back printed, or it was handed to its holder (DOMAIN §6)."""
    delivery_way: Literal["pickup", "mail"] = "pickup"
    """How a new certificate reaches its holder where no list of the city says so (DOMAIN §5)."""
    push_days: int = 3
    """Days from print to EMS order list that count as 及时推送."""
    verify_url: str = ""
    """Public address of the verification pages, for the QR code of proofs; empty: the QR code holds the code alone."""
    demo: Literal["0", "1"] = "0"
    """Whether this is a demonstration with invented people: Airflow then also starts with settings for developers."""
    behind_proxy: Literal["no", "yes"] = "no"
    """Whether nobody reaches Airflow's pages but through a proxy, or a port that is mapped to this machine alone."""
    mail_server: str = ""
    """Takes the alerts: ``smtp://host``, ``smtp+starttls://user@host`` or ``smtps://user@host``; empty: no mail."""
    mail_from: str = ""
    """Sender of the alerts."""
    mail_password: str = field(default="", repr=False)
    statsd: str = ""
    """``host:port`` of a StatsD server for Airflow's metrics and ours (``docs/metrics.md``); empty: none are sent."""
    return_profiles: Path | None = None
    """Folder with the operator's own rules for reading returns; None: ``reference/return_profiles`` below `home`."""
    missing_late_days: int = 90
    """Sent and not back after so many days: the authority is asked."""
    missing_alarm_days: int = 180
    """Sent and not back after so many days: an alarm, until an answer comes (returns take three to six months)."""
    audit_export: Path | None = None
    """Folder outside `home`, best on another machine, for signed heads of the audit chain; None: none are exported."""
    vault_key: str = field(default="", repr=False)
    """Key of files at rest, 32 random bytes as base64 or hex, kept outside `home` (`certflow.vault`); empty: they are
    not encrypted."""
    vault_old_keys: str = field(default="", repr=False)
    """Earlier keys, separated by commas, for as long as files are sealed with them."""
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        vault.hold(self.home, self.vault_key, self.vault_old_keys)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read ``CERTFLOW_*``; ConfigurationError names the variable that is wrong."""
        env = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for item in fields(cls):
            text = _given(f"CERTFLOW_{item.name.upper()}", env)
            if text == "":
                continue
            values[item.name] = _read(item.name, item.type, text, env)
        for group, kind in _GROUPS.items():
            values[group] = _read_group(group, kind, env)
        values["home"] = Path(values.get("home", cls.__dataclass_fields__["home"].default)).absolute()
        for name in ("vault_key", "vault_old_keys"):
            _outside(values["home"], f"CERTFLOW_{name.upper()}_FILE", env)
        return cls(**values)

    def path(self, *parts: str) -> Path:
        """A path below `home`."""
        return self.home.joinpath(*parts)

    @property
    def originals(self) -> Path:
        """Content-addressed originals: ``ab/abcdef….bin``, never changed."""
        return self.path("originals")

    def original(self, sha256: str) -> Path:
        """Where the original with this digest lies."""
        return self.originals / sha256[:2] / f"{sha256}.bin"

    @property
    def work(self) -> Path:
        """Temporary files; empty when nothing runs."""
        return self.path("work")

    @property
    def packages(self) -> Path:
        """Built packages: ``YYYYMM/`` and ``YYYYMM-补报n/``."""
        return self.path("packages")

    @property
    def feedback(self) -> Path:
        """退回单 and receipts, unmasked, per account and month: the protected folder."""
        return self.path("feedback")

    @property
    def contact_sheets(self) -> Path:
        """Photos of each submission on one page, per account and month: protected, for the province only."""
        return self.path("contact-sheets")

    @property
    def reports(self) -> Path:
        """Reports and Data Docs, free of personal data."""
        return self.path("reports")

    @property
    def keys(self) -> Path:
        """Secrets made by the program itself (0600)."""
        return self.path("keys")

    @property
    def audit_heads(self) -> Path:
        """Heads of the audit chain, one line each, outside the database (invariant I7)."""
        return self.path("audit-heads.log")


def misspelt(environment: Mapping[str, str] | None = None) -> list[str]:
    """In Chinese, each ``CERTFLOW_*`` that names no setting, with the one that may be meant: it has no effect."""
    env = os.environ if environment is None else environment
    known = {item.name for item in fields(Settings)} - set(_GROUPS)
    known |= {f"{group}_{item.name}" for group, kind in _GROUPS.items() for item in fields(kind)}
    known |= {f"{remote}_{what}" for remote in ("city_sftp", "authority_sftp") for what in ("key", "known_hosts")}
    names = {f"{name.upper()}{tail}" for name in known for tail in ("", "_FILE")}
    told = []
    for variable in sorted(one for one in env if one.startswith("CERTFLOW_")):
        name = variable.removeprefix("CERTFLOW_")
        if name not in names and not _OF_KUBERNETES.search(variable):
            near = "".join(f"（是否 CERTFLOW_{one}）" for one in get_close_matches(name, sorted(names), n=1))
            told.append(f"环境变量 {variable} 不是任何设置的名称，没有起作用{near}")
    return told


def _given(variable: str, env: Mapping[str, str]) -> str:
    """What a variable says, or the file that ``<variable>_FILE`` names; "" when neither is set."""
    text, file = env.get(variable, ""), env.get(f"{variable}_FILE", "")
    if not file:
        return text
    if text:
        raise ConfigurationError(f"{variable} 和 {variable}_FILE 只能设置其中一个")
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{variable}_FILE 指向的文件读不出：{file}") from None


def _outside(home: Path, variable: str, env: Mapping[str, str]) -> None:
    """A key that lies beside what it locks is no key."""
    if (file := env.get(variable, "")) and Path(file).resolve().is_relative_to(home.resolve()):
        raise ConfigurationError(f"{variable} 指向 CERTFLOW_HOME 之内的文件：密钥不能与加密的文件放在一起，请移到别处")


def _read(name: str, kind: object, text: str, env: Mapping[str, str]) -> object:
    variable = f"CERTFLOW_{name.upper()}"
    if name in ("city_sftp", "authority_sftp"):
        key, known = env.get(f"{variable}_KEY"), env.get(f"{variable}_KNOWN_HOSTS")
        if not key or not known:
            message = f"设置了 {variable}，还须同时设置 {variable}_KEY 和 {variable}_KNOWN_HOSTS（文件路径）"
            raise ConfigurationError(message)
        return Remote.parse(text, Path(key), Path(known))
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            message = f"{variable} 只能是 {'、'.join(get_args(kind))} 之一"
            raise ConfigurationError(message)
        return text
    if name in ("home", "expectations", "fonts", "return_profiles", "audit_export"):
        return Path(text)
    if kind in (int, float):
        return _number(variable, kind, text)
    return text


def _read_group(group: str, kind: Any, env: Mapping[str, str]) -> object:  # noqa: ANN401 (Folders, Limits or Retention)
    values: dict[str, object] = {}
    for item in fields(kind):
        variable = f"CERTFLOW_{group.upper()}_{item.name.upper()}"
        if text := _given(variable, env):
            values[item.name] = _number(variable, int, text) if item.type is int else text
    return kind(**values)


def _number(variable: str, kind: type[int] | type[float] | object, text: str) -> float:
    try:
        value = int(text) if kind is int else float(text)
    except ValueError:
        message = f"{variable} 须是数字"
        raise ConfigurationError(message) from None
    if value < 0:
        message = f"{variable} 须是不小于 0 的数字"
        raise ConfigurationError(message)
    return value
