"""Comparison keys: what two values must share to mean the same (DOMAIN §3.1, §3.5). Never stored, never emitted.

Where keys are equal and values are not, the row goes on with a warning and the database's value is what we
emit. A key folds only what the domain lists; everything else stays a difference.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from certflow import identity
from certflow.naming import DASHES

_BLANK = r"\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
"""Blanks and signs nobody sees (E31)."""
_BLANKS = re.compile(f"[{_BLANK}]+")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d]")  # D16
_APOSTROPHE = re.compile("^['＇‘’`]+")  # E33
_DOTS = re.compile(f"[{_BLANK}]*[\u00b7\u2022\u30fb\u2027.\u2219\u22c5\u0387\u2e31\u2024][{_BLANK}]*")  # D17
_IDEOGRAPHS = "\u3007\u3400-\u9fff\ue000-\uf8ff\uf900-\ufaff\U00020000-\U0003ffff"
_PLAIN_NAME = re.compile("[\u3400-\u9fff]+")
_SPACED_NAME = re.compile(f"[{_IDEOGRAPHS}]+(?: [{_IDEOGRAPHS}]+)+")
_DOTTED_NAME = re.compile(f"[{_IDEOGRAPHS}\u00b7 ]+")
_PLAIN_ID = re.compile(r"[0-9]{17}[0-9X]|[A-Z0-9]{5,14}")
_RUN = re.compile(r"[0-9A-Z]{8,}")
_LONGEST = 18
"""Signs of the longest document number."""
_FIFTEEN = re.compile(r"[1-9][0-9]{14}")
_BRACKETED_PERMIT = re.compile(r"[HM][0-9]{8}\([0-9]{2}\)|[0-9]{10}\([A-Z]\)")
_PERMIT = re.compile(r"(?P<number>[HM][0-9]{8}(?=[0-9]{2}$)|[0-9]{10}(?=[A-Z]$))(?P<times>.*)")
_HOMOPHONE = re.compile(f"(?<![\\[(〔【])[\\[(〔【]([{_IDEOGRAPHS}])[\\])〕】](?![\\])〕】])")
"""What stands for a character that could not be typed: 王晓[沛] (DOMAIN §3.5)."""
_DASHES = str.maketrans(DASHES)
_NOTHING = re.compile(f"[-{''.join(DASHES)}]{{1,4}}")
_NONE = frozenset("/／无")
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def name_key(name: str) -> str:
    """A person's name: NFKC, no variation selectors, one kind of middle dot, no padding (D14–D17, D19, E33).

    The brackets around a homophone vanish (王晓[沛]).

    Blanks in a name of ideographs vanish (张　三), unless they part a long name in the way a middle dot does
    (five ideographs or more, no part a single one): then they are the dot. In other names a run of blanks is one, and
    letters of A to Z are large.
    """
    if _PLAIN_NAME.fullmatch(name):
        return name
    return _name_key(name)


def id_key(number: str) -> str:
    """A document number: half-width, upper case, no blanks; 15 digits of a person as that person's 18 (D02–D04, D11).

    Only a 15-digit number with a possible birth date is brought to 18 digits; look-alikes of X (Cyrillic, ×, *)
    stay what they are.
    """
    folded = id_text(number)
    if _FIFTEEN.fullmatch(folded) and identity.date_ok([folded])[0]:
        return identity.to_18(folded)
    return folded


def id_spellings(number: str) -> list[str]:
    """How database and ledger may have written a number: as given, folded, 15 or 18 digits, in brackets (D03, D11)."""
    key = id_key(number)
    known = {number.strip(), key, key.lower()}
    if len(key) == 18 and key[6:8] == "19" and key[:17].isdigit():
        short = key[:6] + key[8:17]
        known |= {short} if identity.to_18(short) == key else set()
    if match := _PERMIT.fullmatch(key):
        known |= {f"{match['number']}{left}{match['times']}{right}" for left, right in ("()", "（）")}
    return sorted(known - {""})


def id_keys_in(text: str) -> set[str]:
    """Keys of what may be document numbers in a text, with and without what stands beside them (``1 37…``, ``IMG37…``).

    For the name of a photo (P20). Of signs that follow each other without end, every piece as long as a number.
    """
    runs = {run for part in (text, *text.split()) for run in _RUN.findall(id_text(part))}
    return {id_key(run[at : at + _LONGEST]) for run in runs for at in range(max(1, len(run) - _LONGEST + 1))}


def id_text(number: str) -> str:
    """`id_key` without the step from 15 to 18 digits: the number as its kind's form is judged on."""
    if _PLAIN_ID.fullmatch(number):
        return number
    folded = _APOSTROPHE.sub("", _BLANKS.sub("", number.translate(_WIDE)))
    folded = folded.translate(_UPPER)
    if _BRACKETED_PERMIT.fullmatch(folded):
        return folded.replace("(", "").replace(")", "")  # D11
    return folded


@lru_cache(maxsize=65_536)
def text_key(text: str) -> str:
    """Specialties, cities and other words: NFKC, no blanks, no variation selectors, no leading apostrophe."""
    folded = _BLANKS.sub("", unicodedata.normalize("NFKC", _SELECTORS.sub("", text)))
    return unicodedata.normalize("NFKC", _APOSTROPHE.sub("", folded))


def is_nothing(text: str, *, optional: bool) -> bool:
    """Whether a cell says in signs that it is empty: dashes alone; where a value is `optional`, ``/`` and 无 (E35)."""
    word = text.strip()
    return _NOTHING.fullmatch(word) is not None or (optional and word in _NONE)


def level_key(level: str, aliases: Mapping[str, str]) -> str:
    """A level by the alias table (1级, 壹级 → 一级; `Reference.level_aliases`), else its `text_key` (D29)."""
    key = text_key(level)
    return aliases.get(key, key)


def is_variant(one: str, other: str, variants: Mapping[str, str]) -> bool:
    """Whether two names differ, and only by listed variant characters (`Reference.name_variants`; D13, D20).

    Or by a character that old systems could not type, where the other name has a homophone in brackets.
    """
    first, second = name_key(one), name_key(other)
    if first == second or len(first) != len(second):
        return False
    stand_ins = _stand_ins(one), _stand_ins(other)
    return all(
        a == b
        or variants.get(a, a) == variants.get(b, b)
        or (at in stand_ins[0] and _untypeable(b))
        or (at in stand_ins[1] and _untypeable(a))
        for at, (a, b) in enumerate(zip(first, second, strict=True))
    )


def _stand_ins(name: str) -> set[int]:
    """Places in a name's key of what stood in brackets; empty where more than brackets was folded."""
    texts = _HOMOPHONE.split(unicodedata.normalize("NFKC", name))
    if "".join(texts) != name_key(name):
        return set()
    places, length = set(), 0
    for text, homophone in zip(texts[::2], [*texts[1::2], ""], strict=True):
        length += len(text)
        if homophone:
            places.add(length)
        length += len(homophone)
    return places


def _untypeable(character: str) -> bool:
    """Whether it is none of the 6 763 of GB/T 2312."""
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class ParsedDate:
    """A date as read: `value` is ``YYYYMMDD``, ``YYYYMM`` or, with a `fault`, empty."""

    value: str
    fault: str
    """``""`` or ``DATE-FORM``: ambiguous, a bare serial number, or no day of the calendar."""
    styled: bool
    """Written otherwise than in 6 or 8 plain digits (`DATE-STYLE`)."""


@lru_cache(maxsize=65_536)
def parse_date(text: str) -> ParsedDate:
    """Read ``YYYYMM``, ``YYYYMMDD``, ``YYYY-M-D``, ``YYYY/M/D``, ``YYYY.M.D``, ``YYYY年M月(D日)`` (E14, D08, D34).

    The day may be absent in each, and a hyphen may be any dash. Years 1900–2099. A time of midnight behind the day is
    read over.
    """
    folded = _APOSTROPHE.sub("", _BLANKS.sub(" ", text.translate(_WIDE).translate(_DASHES)).strip())
    folded = _MIDNIGHT.sub("", folded).replace(" ", "")
    match = _DIGITS.fullmatch(folded) or _PARTED.fullmatch(folded) or _WORDED.fullmatch(folded)
    if match is None:
        return ParsedDate("", "DATE-FORM", styled=False)
    year, month, day = match["year"], int(match["month"]), match["day"]
    try:
        date(int(year), month, int(day or 1))
    except ValueError:
        return ParsedDate("", "DATE-FORM", styled=False)
    value = f"{year}{month:02d}" + (f"{int(day):02d}" if day else "")
    return ParsedDate(value, "", styled=value != text)


_MIDNIGHT = re.compile(r"(?<=[0-9])(?: |T)0?0:00(?::00(?:\.0+)?)?$")
_DIGITS = re.compile(r"(?P<year>(?:19|20)[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})?")
_PARTED = re.compile(
    r"(?P<year>(?:19|20)[0-9]{2})(?P<sign>[-/.])(?P<month>[0-9]{1,2})(?:(?P=sign)(?P<day>[0-9]{1,2}))?"
)
_WORDED = re.compile(r"(?P<year>(?:19|20)[0-9]{2})年(?P<month>[0-9]{1,2})月(?:(?P<day>[0-9]{1,2})日)?")


@lru_cache(maxsize=65_536)
def _name_key(name: str) -> str:
    folded = unicodedata.normalize("NFKC", _SELECTORS.sub("", name))
    folded = _DOTS.sub("\u00b7", _APOSTROPHE.sub("", _BLANKS.sub(" ", folded).strip()).strip())
    folded = _HOMOPHONE.sub(r"\1", folded)
    if _SPACED_NAME.fullmatch(folded):
        parts = folded.split(" ")
        dotted = min(map(len, parts)) > 1 and sum(map(len, parts)) >= 5
        folded = ("\u00b7" if dotted else "").join(parts)
    elif _DOTTED_NAME.fullmatch(folded):
        folded = folded.replace(" ", "")
    return unicodedata.normalize("NFKC", folded).translate(_UPPER)
