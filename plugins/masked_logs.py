"""Airflow's logging with personal data masked on every path: task lines, its own services' lines, log records.

Named in ``AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS``. Airflow puts the processors of ``REMOTE_TASK_LOG`` into the
path on which each line of a task (its log calls, what it prints, its tracebacks) reaches the log file; nothing
is sent anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG

from certflow.privacy import MaskingFilter, install_log_masking, mask_event

if TYPE_CHECKING:
    import logging
    import os


class MaskedTaskLog:
    """Airflow's interface of a remote log, of which only the processors are used."""

    processors = (mask_event,)

    def upload(self, path: os.PathLike[str] | str, ti: object = None) -> None:
        """Task logs stay on this machine."""

    def read(self, relative_path: str, ti: object) -> tuple[list[str], None]:  # noqa: ARG002 (Airflow's own signature)
        """Nothing lies anywhere else."""
        return [], None


def masking() -> logging.Filter:
    """Called when Airflow applies `LOGGING_CONFIG`: by then it has set up structlog, which its services log by."""
    install_log_masking()
    return MaskingFilter()


install_log_masking()
# Airflow builds its handlers itself, whatever filters the configuration names: records are masked when they are made.

LOGGING_CONFIG = DEFAULT_LOGGING_CONFIG | {
    "filters": DEFAULT_LOGGING_CONFIG.get("filters", {}) | {"masking": {"()": masking}}
}
REMOTE_TASK_LOG = MaskedTaskLog()
