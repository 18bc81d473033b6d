"""What must not go into service: settings of Airflow that are for developers. Asked before any service starts."""

from __future__ import annotations

import os
import sys
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERVICES = frozenset({"api-server", "celery", "dag-processor", "scheduler", "standalone", "triggerer"})
"""Commands of ``airflow`` that stay."""
_PAGES = frozenset({"api-server", "standalone"})
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})
_SHORTEST = 32
"""Characters of a key; the ones Airflow makes up for itself have 24."""
_SIMPLE = "simple_auth_manager.SimpleAuthManager"
_LOGIN = "certflow_login.CertflowLogin"
_KEY = "由密钥文件或环境变量给出的随机值，所有进程相同"


def refuse(arguments: Sequence[str] = sys.argv[1:]) -> None:
    """End the process, in words, when this is a service with settings that are for developers.

    ``CERTFLOW_DEMO=1`` lets them pass: a demonstration with invented people.
    """
    if not SERVICES.intersection(arguments[:1]):
        return
    from certflow.errors import ConfigurationError
    from certflow.settings import Settings, misspelt

    try:
        settings = Settings.load()
    except ConfigurationError as error:
        sys.exit(f"certflow 拒绝启动：设置有误：{error}")
    if settings.demo == "1":
        return
    if told := misspelt():
        sys.exit(f"certflow 拒绝启动：{'；'.join(told)}。请改正或删去")
    from airflow.configuration import conf

    found = list(faults(conf, arguments, behind_proxy=settings.behind_proxy == "yes"))
    if found:
        lines = [f"certflow 拒绝启动 {arguments[0]}：以下设置只供开发，不能用于正式数据"]
        for number, (section, key, wrong, right) in enumerate(found, 1):
            variable = f"AIRFLOW__{section.upper()}__{key.upper()}"
            lines += [
                f"{number}. [{section}] {key}：{wrong}",
                f"   现在写在：{_place(conf, section, key)}",
                f"   应当写成：{variable}={right}",
            ]
        lines.append("只作演示、没有真实数据的，设 CERTFLOW_DEMO=1 再启动。见运维手册“拒绝启动”一节。")
        sys.exit("\n".join(lines))


def faults(conf: Any, arguments: Sequence[str], *, behind_proxy: bool) -> Iterator[tuple[str, str, str, str]]:  # noqa: ANN401 (Airflow's parser)
    """Section, key, what is wrong with it, what to write; values of keys are never repeated."""
    if conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False):
        yield "core", "simple_auth_manager_all_admins", "不登录就是管理员", "False"
    if conf.get("core", "auth_manager").endswith(_SIMPLE):
        yield "core", "auth_manager", "是 Airflow 供开发用的登录，口令不加密", _LOGIN
    if wrong := _fernet(conf):
        yield "core", "fernet_key", wrong, _KEY + "（Fernet.generate_key 的 44 个字符）"
    if not conf.get("api_auth", "jwt_private_key_path", fallback="") and (
        wrong := _key(conf, "api_auth", "jwt_secret")
    ):
        yield "api_auth", "jwt_secret", wrong, _KEY
    if wrong := _key(conf, "api", "secret_key"):
        yield "api", "secret_key", wrong, _KEY
    if conf.get("api", "expose_config", fallback="False").lower() != "false":
        yield "api", "expose_config", "网页会显示配置", "False"
    if conf.get("core", "test_connection", fallback="Disabled").lower() != "disabled":
        yield "core", "test_connection", "网页可以试连任意主机", "Disabled"
    if arguments[0] in _PAGES and not behind_proxy:
        host = _host(arguments) or conf.get("api", "host")
        if host not in _HERE and not conf.get("api", "ssl_cert", fallback=""):
            yield (
                "api", "host", f"{host} 不加密地向网络开放",
                "127.0.0.1（只有反向代理或只映射到本机的端口能连到它的，设 CERTFLOW_BEHIND_PROXY=yes）",
            )  # fmt: skip


def _fernet(conf: Any) -> str:  # noqa: ANN401 (Airflow's parser)
    if wrong := _key(conf, "core", "fernet_key"):
        return wrong
    try:
        keys = [urlsafe_b64decode(part) for part in conf.get("core", "fernet_key").split(",")]
    except ValueError:
        keys = []
    return "" if keys and all(len(key) == 32 for key in keys) else "不是 Fernet 密钥"


def _key(conf: Any, section: str, key: str) -> str:  # noqa: ANN401 (Airflow's parser)
    """What is wrong with a key; "" when nothing is."""
    value = conf.get(section, key, fallback="") or ""
    if not value:
        return "没有设置"
    if not _from_outside(conf, section, key):
        return "写在 airflow.cfg 里，或是 Airflow 自己临时生成的"
    if len(value) < _SHORTEST or len(set(value)) < _SHORTEST // 3:
        return f"太短或太简单，须为至少 {_SHORTEST} 个随机字符"
    return ""


def _from_outside(conf: Any, section: str, key: str) -> bool:  # noqa: ANN401 (Airflow's parser)
    variable = f"AIRFLOW__{section.upper()}__{key.upper()}"
    return any(
        f"{variable}{tail}" in os.environ or (tail and conf.has_option(section, f"{key}{tail.lower()}"))
        for tail in ("", "_CMD", "_SECRET")
    )


def _place(conf: Any, section: str, key: str) -> str:  # noqa: ANN401 (Airflow's parser)
    variable = f"AIRFLOW__{section.upper()}__{key.upper()}"
    if variable in os.environ:
        return f"环境变量 {variable}"
    if conf.get(section, key, fallback=None) != conf.get_default_value(section, key):
        from airflow.configuration import AIRFLOW_CONFIG

        return AIRFLOW_CONFIG
    return "没有写，用的是默认值"


def _host(arguments: Sequence[str]) -> str:
    """The host of the command line, which goes before the setting."""
    for place, word in enumerate(arguments):
        name, equal, value = word.partition("=")
        if name in {"--host", "-H"}:
            return value if equal else next(iter(arguments[place + 1 :]), "")
    return ""
