"""Numbers of identity documents: form, check digit, and the birth date and sex inside (DOMAIN §3.2, §3.3).

Vectorised over lists of numbers as `certflow.keys.id_key` writes them (ASCII, upper case, no blanks). Written
here because the known libraries refuse real people: permits, 15-digit numbers, retired areas.
Area codes are not looked at: they only ever warn, see `certflow.reference`.
"""

import re
from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

RESIDENT = "resident"
"""居民身份证: 18 digits, or the historic 15."""
GAT_RESIDENCE = "gat_residence"
"""港澳台居民居住证."""
FOREIGN_RESIDENCE = "foreign_residence"
"""外国人永久居留身份证."""
HK_MACAU_PERMIT = "hk_macau_permit"
"""港澳居民来往内地通行证 (回乡证)."""
TAIWAN_PERMIT = "taiwan_permit"
"""台湾居民来往大陆通行证 (台胞证)."""
PASSPORT = "passport"
OFFICER = "officer"
"""军官证."""
OTHER = "other"

CHECKED_KINDS = frozenset({RESIDENT, GAT_RESIDENCE})
"""Kinds whose 18-digit form has a check digit, a birth date and a sex that we judge."""

_FORMS = {
    RESIDENT: r"[1-9][0-9]{16}[0-9X]|[1-9][0-9]{14}",
    GAT_RESIDENCE: r"8[123]0000[0-9]{11}[0-9X]",
    FOREIGN_RESIDENCE: r"9[0-9]{16}[0-9X]|[A-Z]{3}[0-9]{12}",
    HK_MACAU_PERMIT: r"[HM][0-9]{8}(?:[0-9]{2})?",
    TAIWAN_PERMIT: r"[0-9]{8}|[0-9]{10}\(?[A-Z]\)?",
    PASSPORT: r"[0-9A-Z]{5,17}",
    OFFICER: r".{4,30}",
    OTHER: r".{1,40}",
}
_PATTERNS = {kind: re.compile(form) for kind, form in _FORMS.items()}

_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int32)
_CHECK_SIGNS = "10X98765432"
_CHECK_CODES = np.array([ord(sign) for sign in _CHECK_SIGNS], dtype=np.int32)
_MONTH_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int32)

Bools = NDArray[np.bool_]
Numbers = NDArray[np.str_]
"""Document numbers as `signs` gives them: read once, asked for many things."""


def form_ok(kind: str, ids: Sequence[str]) -> Bools:
    """Whether each number has the form of its kind; KeyError for an unknown kind."""
    fits = _PATTERNS[kind].fullmatch
    return np.fromiter((fits(number) is not None for number in ids), dtype=np.bool_, count=len(ids))


def signs(ids: Sequence[str]) -> Numbers:
    """Numbers as the functions below read them; of a longer one its first 19 signs."""
    return np.array(ids, dtype="U19")


def checksum_ok(ids: Sequence[str] | Numbers) -> Bools:
    """Whether each is an 18-digit number with the right ISO 7064 MOD 11-2 sign; False for any other form."""
    codes = _codes(ids)
    digits = codes[:, :17] - ord("0")
    numeric = ((digits >= 0) & (digits <= 9)).all(axis=1) & (codes[:, 18] == 0)
    expected = _CHECK_CODES[(digits * _WEIGHTS).sum(axis=1) % 11]
    return np.asarray(numeric & (codes[:, 17] == expected), dtype=np.bool_)


def check_digit(body: str) -> str:
    """The 18th sign for the first 17 digits; ValueError when they are not 17 ASCII digits."""
    if re.fullmatch(r"[0-9]{17}", body) is None:
        message = "a check digit is computed from 17 digits"
        raise ValueError(message)
    return _CHECK_SIGNS[sum(int(digit) * int(weight) for digit, weight in zip(body, _WEIGHTS, strict=True)) % 11]


def to_18(number: str) -> str:
    """The 18-digit number of the person with a 15-digit one (issued before 1999-10, so born in 19xx).

    ValueError when it is not 15 ASCII digits. For comparison only: we never upgrade a city's value (D03).
    """
    if re.fullmatch(r"[0-9]{15}", number) is None:
        message = "only 15 digits can be brought to 18"
        raise ValueError(message)
    body = f"{number[:6]}19{number[6:]}"
    return body + check_digit(body)


def birth_dates(ids: Sequence[str] | Numbers) -> NDArray[np.str_]:
    """The digits of the birth date, ``YYYYMMDD``, as they stand in 18- or 15-digit numbers; ``""`` for other forms.

    The date may be impossible: see `date_ok`.
    """
    return _date_codes(ids)[0].view("U8").reshape(len(ids))


def births(ids: Sequence[str] | Numbers) -> NDArray[np.str_]:
    """The birth month ``YYYYMM`` in 18- or 15-digit numbers; ``""`` for other forms."""
    return birth_dates(ids).astype("U6")


def sexes(ids: Sequence[str] | Numbers) -> NDArray[np.str_]:
    """男 or 女 by the parity of digit 17 (15-digit: the last digit); ``""`` for other forms."""
    codes = _codes(ids)
    long, short = _forms(codes)
    digit = np.where(long, codes[:, 16], codes[:, 14])
    return np.where(long | short, np.where(digit % 2 == 1, "男", "女"), "")


def date_ok(ids: Sequence[str] | Numbers) -> Bools:
    """Whether the date inside is one of the calendar (D05); False where there is none."""
    numbers, present = _dates(ids)
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    longest = _MONTH_DAYS[np.where((month >= 1) & (month <= 12), month, 0)] - ((month == 2) & ~leap)
    return np.asarray(present & (year >= 1800) & (day >= 1) & (day <= longest), dtype=np.bool_)


def ages(ids: Sequence[str] | Numbers, on: date) -> NDArray[np.int64]:
    """Completed years on a day, by the date inside; -1 where there is none. Negative beyond -1: born later."""
    numbers, present = _dates(ids)
    years = np.floor_divide(on.year * 10_000 + on.month * 100 + on.day - numbers, 10_000)
    return np.where(present, np.where(years < 0, years - 1, years), -1)


def areas(ids: Sequence[str] | Numbers) -> NDArray[np.str_]:
    """The first six digits of 18- or 15-digit numbers; ``""`` for other forms."""
    codes = _codes(ids)
    long, short = _forms(codes)
    found = np.where((long | short)[:, None], codes[:, :6], 0).astype(np.int32)
    return found.view("U6").reshape(len(ids))


def _dates(ids: Sequence[str] | Numbers) -> tuple[NDArray[np.int64], Bools]:
    """The birth dates as numbers, YYYYMMDD, and where there are any."""
    codes, present = _date_codes(ids)
    digits = np.where(present[:, None], codes - ord("0"), 0).astype(np.int64)
    return digits @ (10 ** np.arange(7, -1, -1)), present


def _date_codes(ids: Sequence[str] | Numbers) -> tuple[NDArray[np.int32], Bools]:
    """Code points of the birth dates, shape (n, 8), and where there are any; zeros elsewhere."""
    codes = _codes(ids)
    long, short = _forms(codes)
    found = np.zeros((len(ids), 8), dtype=np.int32)
    found[long] = codes[long, 6:14]
    found[short, :2] = (ord("1"), ord("9"))
    found[short, 2:] = codes[short, 6:12]
    return found, long | short


def _forms(codes: NDArray[np.int32]) -> tuple[Bools, Bools]:
    """Which are 17 digits and a check sign, and which are 15 digits."""
    digits = (codes >= ord("0")) & (codes <= ord("9"))
    ended = codes == 0
    signed = digits[:, 17] | (codes[:, 17] == ord("X"))
    long = digits[:, :17].all(axis=1) & signed & ended[:, 18]
    short = digits[:, :15].all(axis=1) & ended[:, 15:].all(axis=1)
    return long, short


def _codes(ids: Sequence[str] | Numbers) -> NDArray[np.int32]:
    """Code points, shape (n, 19): a 19th sign betrays a number that is too long."""
    return np.array(ids, dtype="U19").view(np.int32).reshape(len(ids), 19)
