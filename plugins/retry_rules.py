"""Which failure of a task is tried again and which one waits for a person (the error tree of certflow)."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from certflow.errors import (
    AccessRefused,
    ConfigurationError,
    Conflict,
    DigestMismatch,
    SubmissionError,
    TransferError,
)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        # AccessRefused is a TransferError: it has to stand first.
        RetryRule(exception=AccessRefused, action=RetryAction.FAIL, reason="登录被拒绝，重试只会更糟"),
        RetryRule(
            exception=[SubmissionError, Conflict, ConfigurationError, DigestMismatch],
            action=RetryAction.FAIL,
            reason="需要人处理，重试无用",
        ),
        RetryRule(
            exception=TransferError, action=RetryAction.RETRY, reason="连接、数据库或对方目录暂时不可用，稍后重试"
        ),
    ],
    default=RetryAction.DEFAULT,
)
"""First match wins; anything else (a database that restarts, for instance) follows the task's own retries."""

TASK_DEFAULTS = {
    "owner": "证书补换",
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": RETRY_POLICY,
}
"""`default_args` of every DAG."""
