"""XCom without personal data: ids, counts and digests pass, anything that looks like a person does not.

A photo's file name is an ID number, so a forgotten ``return file_name`` is caught here and not in an audit. Looked for
are ID numbers of every kind, photo file names and names beside their label, at any depth and whatever the value is
packed in. The patterns are strict: a digest or a count that looked like a person would hold up a month.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

MOST = 256 << 10
"""Characters of one value; ids and counts need less."""
_ID_NUMBER = (
    r"(?<![0-9A-Za-z])(?:"
    r"[1-9]\d{5}[ \-]?(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ \-]?\d{3}[\dXx]"  # 18 digits
    r"|[1-9]\d{5}\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}"  # 15 digits
    r"|[HMhm]\d{8}(?:\d{2})?"  # 回乡证
    r"|[A-Za-z]{3}\d{12}"  # old permanent residence permit
    r")(?![0-9A-Za-z])"
)
_PHOTO = r"[^\s*/\\]\.(?i:jpe?g)(?![0-9A-Za-z])"
_LABEL = r"(?:KSXM|ZJHM|姓名|证件号码|证件号)"
_PERSONAL = re.compile(rf"{_ID_NUMBER}|{_PHOTO}|{_LABEL}[\"']?\s*[:：=]\s*[\"']?[^\s\"'*,，;；|]{{2,}}", re.ASCII)
_FIELD = re.compile(_LABEL)
_NARROW = {0xFF01 + sign: 0x21 + sign for sign in range(0x5E)}
"""Full-width signs as half-width ones."""
_LARGEST = 1e13
"""No count is as large: a number that went through a float, its last digits gone."""


def personal(value: object) -> bool:
    """Whether a value, at any depth, holds text or a number that looks like somebody's."""
    if isinstance(value, Mapping):
        return any(
            personal(key) or personal(item) or (isinstance(key, str) and _FIELD.fullmatch(key) and _told(item))
            for key, item in value.items()
        )
    if isinstance(value, list | tuple | set | frozenset):
        return any(personal(item) for item in value)
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).replace(b"\0", b"").decode("utf-8", "replace")
    if isinstance(value, float):
        return abs(value) >= _LARGEST
    if isinstance(value, str | int) and not isinstance(value, bool):
        return _PERSONAL.search(str(value).translate(_NARROW)) is not None
    return False


def _told(value: object) -> bool:
    """Whether a field that is about a person says something unmasked."""
    return isinstance(value, str) and value != "" and "*" not in value


class GuardedXCom(BaseXCom):
    """The backend Airflow uses (``AIRFLOW__CORE__XCOM_BACKEND``)."""

    @staticmethod
    def serialize_value(value: Any, **where: Any) -> Any:  # noqa: ANN401 (Airflow's own signature)
        """Refuse personal data; the message names the task, never the value."""
        told = BaseXCom.serialize_value(value, **where)
        if personal(value) or personal(told):  # what is told also shows what an object carried inside
            raise ValueError(
                f"task {where.get('task_id')} returned something that looks like an ID number, a photo's name or a "
                "person's name; XCom carries ids, counts and digests only"
            )
        if len(str(told)) > MOST:
            raise ValueError(f"task {where.get('task_id')} returned more than {MOST} characters: put it into a file")
        return told
