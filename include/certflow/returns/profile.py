"""How to read what the authority sends back: editable profiles, because no format was ever published (DOMAIN §4).

One TOML file per format. Those that came along lie in ``returns/profiles/``; a file of the same name in the operator's
folder (``reference/return_profiles/`` below the home, or `Settings.return_profiles`) takes its place, others stand
beside it.
"""

import fnmatch
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from certflow.errors import ConfigurationError
from certflow.keys import parse_date
from certflow.settings import Settings

PRINTED, REFUSED = "已印制", "退回"
"""The two results, as the ledger writes them."""

COLUMNS = ("management_no", "name", "id_number", "serial", "result", "reason", "printed_on")
_KEYS = {
    "name", "files", "attachments", "encodings", "delimiter", "final_line_end", "checksum", "sheet", "dates", "columns",
    "results",
}  # fmt: skip
_DATE_PARTS = {"YYYY": "%Y", "MM": "%m", "DD": "%d"}


@dataclass(frozen=True, slots=True)
class Profile:
    """Which words stand for what. `columns` and `results` map the file's word to ours."""

    file: str
    """Name of the file it stands in."""
    own: bool
    """The operator's, not the one that came along."""
    name: str
    files: tuple[str, ...]
    attachments: tuple[str, ...]
    encodings: tuple[str, ...]
    delimiter: str
    final_line_end: bool
    checksum: bool
    """Whether each table of a zip needs a ``.sha256`` beside it."""
    sheet: str
    dates: tuple[str, ...]
    """`strptime` formats; empty: whatever is unambiguous."""
    columns: Mapping[str, str]
    ignored: frozenset[str]
    results: Mapping[str, str]

    @property
    def specific(self) -> bool:
        """Whether it names its files, rather than taking what nobody else reads."""
        return set(self.files) != {"*"}

    def takes(self, name: str) -> bool:
        """Whether a file of this name is one of its tables."""
        return _fits(name, self.files)

    def attaches(self, name: str) -> bool:
        """Whether a file of this name may lie beside the tables, unread."""
        return _fits(name, self.attachments)

    def day(self, text: str) -> str:
        """``YYYYMMDD``, or empty when the text is no full date in a form the profile knows."""
        if not self.dates:
            value = parse_date(text).value
            return value if len(value) == 8 else ""
        for form in self.dates:
            try:
                return f"{datetime.strptime(text, form):%Y%m%d}"  # noqa: DTZ007 (a calendar date, no moment)
            except ValueError:
                continue
        return ""


def load_profiles(settings: Settings) -> list[Profile]:
    """Every profile in force, by file name.

    Raises:
        ConfigurationError: a file is no TOML or lacks a part; the message names both.
    """
    return [_load(file, own=own) for _name, (file, own) in sorted(_sources(settings).items())]


def own_folder(settings: Settings) -> Path:
    """Where the operator's profiles lie."""
    return settings.return_profiles or settings.path("reference", "return_profiles")


def copy_shipped(settings: Settings) -> list[Path]:
    """Lay the profiles that came along into the operator's folder, to be edited; one that is there stays."""
    folder = own_folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for source in _shipped():
        target = folder / source.name
        if not target.exists():
            target.write_bytes(source.read_bytes())
            written.append(target)
    return written


def candidates(profiles: Sequence[Profile], name: str) -> list[Profile]:
    """The profiles for a table of this name: those that name it, else those that take any."""
    fitting = [profile for profile in profiles if profile.takes(name)]
    return [profile for profile in fitting if profile.specific] or fitting


def _fits(name: str, patterns: Sequence[str]) -> bool:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return any(fnmatch.fnmatchcase(folded, unicodedata.normalize("NFKC", one).casefold()) for one in patterns)


def _shipped() -> Iterator[Traversable]:
    folder = resources.files(__package__).joinpath("profiles")
    yield from sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=lambda one: one.name)


def _sources(settings: Settings) -> dict[str, tuple[Traversable, bool]]:
    found: dict[str, tuple[Traversable, bool]] = {one.name: (one, False) for one in _shipped()}
    return found | {file.name: (file, True) for file in own_folder(settings).glob("*.toml")}


def _load(file: Traversable, *, own: bool) -> Profile:
    where = f"返回数据读取规则 {file.name}"
    try:
        table = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{where} 无法读取：{type(error).__name__}") from None
    try:
        profile = _profile(file.name, table, own=own)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{where} 缺少或写错：{error}") from None
    except ValueError as error:
        raise ConfigurationError(f"{where}：{error}") from None
    return profile


def _profile(file: str, table: Mapping[str, Any], *, own: bool) -> Profile:
    words = {field: _texts(table["columns"][field]) for field in COLUMNS}
    ignored = _texts(table["columns"].get("ignored", []))
    columns = {word: field for field, spelled in words.items() for word in spelled}
    printed, refused = _texts(table["results"]["printed"]), _texts(table["results"]["refused"])
    unknown = [*(table.keys() - _KEYS), *(table["columns"].keys() - {*COLUMNS, "ignored"})]
    if unknown:
        raise ValueError(f"有不认识的项目 {'、'.join(sorted(unknown))}")
    if len(columns) + len(ignored) != len({*columns, *ignored}) or sum(map(len, words.values())) != len(columns):
        raise ValueError("同一个表头有两种含义")
    if set(printed) & set(refused) or not all((printed, refused, *words.values())):
        raise ValueError("同一个结果词有两种含义，或有一列、一种结果没有写任何词")
    encodings = _texts(table["encodings"])
    for encoding in encodings:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(f"没有编码 {encoding}") from None
    delimiter, checksum = str(table.get("delimiter", ",")), table.get("checksum", "none")
    if len(delimiter) != 1 or checksum not in ("none", "sha256"):
        raise ValueError('delimiter 须为一个字符，checksum 须为 "none" 或 "sha256"')
    return Profile(
        file=file,
        own=own,
        name=str(table["name"]),
        files=_texts(table.get("files", ["*"])),
        attachments=_texts(table.get("attachments", [])),
        encodings=encodings,
        delimiter=delimiter,
        final_line_end=bool(table["final_line_end"]),
        checksum=checksum == "sha256",
        sheet=str(table.get("sheet", "")),
        dates=tuple(map(_date_form, _texts(table.get("dates", [])))),
        columns=columns,
        ignored=frozenset(ignored),
        results=dict.fromkeys(printed, PRINTED) | dict.fromkeys(refused, REFUSED),
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise TypeError("应为文字的列表")
    return tuple(value)


def _date_form(words: str) -> str:
    if sorted(re.findall("YYYY|MM|DD", words)) != sorted(_DATE_PARTS) or "%" in words:
        raise ValueError(f"日期的写法 {words} 须恰好含有 YYYY、MM、DD")
    return re.sub("YYYY|MM|DD", lambda found: _DATE_PARTS[found[0]], words)
