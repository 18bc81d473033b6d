"""A transfer that failed is tried again; what needs a person is not, and what another run does already is skipped."""

from types import SimpleNamespace

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowSkipException

import workplace
from certflow import errors
from certflow.registry import ledger
from certflow.settings import Settings
from retry_rules import RETRY_POLICY


@pytest.fixture
def task(settings, monkeypatch):
    """A task enters its workplace, in this process."""
    instance = SimpleNamespace(dag_id="month_end_prepare", task_id="assemble", run_id="run", try_number=1)
    monkeypatch.setattr(workplace, "get_current_context", lambda: {"ti": instance})
    monkeypatch.setattr(Settings, "load", lambda: settings)
    return workplace.workplace


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (errors.TransferError("server gone"), RetryAction.RETRY),
        (errors.AccessRefused("host key"), RetryAction.FAIL),
        (errors.SubmissionError("ZIP-DAMAGED"), RetryAction.FAIL),
        (errors.Conflict("two facts"), RetryAction.FAIL),
        (errors.Busy("another run"), RetryAction.FAIL),
        (errors.DigestMismatch("bytes differ"), RetryAction.FAIL),
        (errors.SealBroken("changed at rest"), RetryAction.FAIL),
        (errors.ConfigurationError("no such table"), RetryAction.FAIL),
        (ConnectionError("database restarts"), RetryAction.DEFAULT),
    ],
)
def test_the_error_tree_decides(error, action):
    assert RETRY_POLICY.evaluate(error, try_number=1, max_tries=3).action is action


def test_every_error_of_ours_has_a_rule():
    tree = [errors.CertflowError.__subclasses__()]
    assert all(RETRY_POLICY.evaluate(kind("x"), 1, 3).action is not RetryAction.DEFAULT for kind in tree[0])


def test_f39_a_task_that_waited_too_long_for_the_database_is_tried_again(task, registry, actor, monkeypatch):
    monkeypatch.setattr(ledger, "LOCK_TIMEOUT_SECONDS", 1)
    with registry.begin(actor) as stuck:
        ledger.note(stuck, "load")
        with pytest.raises(errors.TransferError, match="锁") as waited, task() as place:
            place.registry.run(place.actor, lambda conn: ledger.note(conn, "assemble"))
    assert RETRY_POLICY.evaluate(waited.value, try_number=1, max_tries=3).action is RetryAction.RETRY


def test_a_task_whose_work_another_run_does_at_this_moment_is_skipped(task, registry):
    with (
        registry.lock("month:202005"),
        pytest.raises(AirflowSkipException),
        task() as place,
        place.registry.lock("month:202005"),
    ):
        pytest.fail("two do the same work")
