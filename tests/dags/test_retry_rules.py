"""A transfer that failed is tried again; what needs a person is not."""

import pytest
from airflow.sdk import RetryAction

from certflow import errors
from retry_rules import RETRY_POLICY


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
