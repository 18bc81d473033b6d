"""XCom without personal data: ids, counts and digests pass, anything that looks like an ID number does not.

A photo's file name is an ID number, so a forgotten ``return file_name`` is caught here and not in an audit.
"""

from __future__ import annotations

import re
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

_ID_NUMBER = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"  # 18 digits
    r"|[1-9]\d{5}\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}"  # 15 digits
    r"|[HMhm]\d{8}(?:\d{2})?"  # 回乡证
    r"|[A-Za-z]{3}\d{12}"  # old permanent residence permit
    r")(?![0-9A-Za-z])",
    re.ASCII,
)
_FULL_WIDTH = {0xFF10 + digit: str(digit) for digit in range(10)} | {0xFF38: "X", 0xFF58: "x"}


def personal(value: object) -> bool:
    """Whether a value, at any depth, holds text or a number that looks like an ID number."""
    if isinstance(value, dict):
        return any(personal(key) or personal(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return any(personal(item) for item in value)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return _ID_NUMBER.search(str(value).translate(_FULL_WIDTH)) is not None
    return False


class GuardedXCom(BaseXCom):
    """The backend Airflow uses (``AIRFLOW__CORE__XCOM_BACKEND``)."""

    @staticmethod
    def serialize_value(value: Any, **where: Any) -> Any:  # noqa: ANN401 (Airflow's own signature)
        """Refuse personal data; the message names the task, never the value."""
        if personal(value):
            raise ValueError(
                f"task {where.get('task_id')} returned something that looks like an ID number; "
                "XCom carries ids, counts and digests only"
            )
        return BaseXCom.serialize_value(value, **where)
