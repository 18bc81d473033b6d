"""Airflow's API as the person at the desk: with their own login, so they may do here what Airflow lets them do."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request

from certflow.errors import Conflict, TransferError

_PATIENCE = 20.0
"""Seconds to wait for an answer."""
_COOKIE = "_token"
"""Where Airflow's pages keep the login."""


class Airflow:
    """The API server at `base_url`, for example ``http://127.0.0.1:8080``."""

    def __init__(self, base_url: str) -> None:
        self._url = base_url.rstrip("/")

    def as_person(self, request: Request) -> "AsPerson":
        """The API with the login that this request carries."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            token = request.cookies.get(_COOKIE, "")
        return AsPerson(self._url, token)


class AsPerson:
    """Airflow's API, one call at a time. Conflict where Airflow refuses, TransferError where it does not answer."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Any:  # noqa: ANN401 (JSON)
        """What stands at ``/api/v2<path>``."""
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 (JSON)
        """Give an order."""
        return self._ask("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 (JSON)
        """Change something."""
        return self._ask("PATCH", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:  # noqa: ANN401 (JSON)
        request = urllib.request.Request(  # noqa: S310 (the configured address of our own Airflow)
            f"{self._url}/api/v2{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:  # noqa: S310 (see above)
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise Conflict("此登录在 Airflow 中没有这项权限，请管理员开通") from None
            raise Conflict(f"Airflow 没有接受（{error.code}）：请刷新页面，看它现在的状态") from None
        except (OSError, ValueError):
            raise TransferError("Airflow 没有应答，请稍后再试") from None
