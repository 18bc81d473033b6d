"""What a run is about: month, batch and city, from its form or its partition key, never from the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, Param, get_current_context

from certflow.errors import ConfigurationError
from certflow.month import Month

if TYPE_CHECKING:
    from collections.abc import Mapping

MONTH_MOVED = Asset("certflow-month")
"""Something of a month changed: whoever reports on months wants to know. The event says which, as ``months``."""
MONTH = Param(
    None,
    type=["null", "string"],
    pattern=r"^\d{6}$",
    title="申报年月",
    description="六位数字，如 202005。定时运行时留空，由运行的分区键给出。",
)
BATCH = Param(0, type="integer", minimum=0, title="批次", description="0 为当月，1、2……为第几次补报。")
NEXT_BATCH = Param(
    None,
    type=["null", "integer"],
    minimum=0,
    title="批次",
    description="留空：首次为当月，其后有新数据时为下一次补报。",
)
CITY = Param(
    None,
    type=["null", "string"],
    pattern=r"^\d{6}$",
    title="地市账号",
    description="六位行政区划代码，如 370100；留空为全部地市。",
)


def month_of(params: Mapping[str, Any], partition_key: str | None) -> str:
    """The month of a run, ``YYYYMM``.

    Raises:
        ConfigurationError: form and partition key differ, both are missing, or the month does not exist.
    """
    named = {str(value) for value in (params.get("month"), partition_key) if value}
    if not named:
        raise ConfigurationError("本次运行没有申报年月：请在触发表单中填写，如 202005")
    if len(named) > 1:
        raise ConfigurationError(f"表单与分区键的申报年月不一致：{'、'.join(sorted(named))}；请只保留一个")
    try:
        return str(Month.parse(named.pop()))
    except ValueError:
        raise ConfigurationError("申报年月须为六位数字，如 202005，月份为 01 至 12") from None


def tell_moved(months: list[str]) -> None:
    """Leave word that these months changed; the running task must name `MONTH_MOVED` among its outlets."""
    get_current_context()["outlet_events"][MONTH_MOVED].extra = {"months": sorted(months)}


def chosen(accounts: list[str], account: str | None) -> list[str]:
    """The accounts a run works on, sorted: all of them, or the one the form names."""
    if account is None:
        return sorted(accounts)
    if account not in accounts:
        raise ConfigurationError(f"没有账号 {account}：请核对地市表")
    return [account]
