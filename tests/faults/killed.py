"""A process that sends, and may be stopped or killed at any moment; it knows neither Airflow nor Great Expectations."""

import os
import sys

from certflow.dispatch.send import send
from certflow.errors import CertflowError
from certflow.registry import open_registry
from certflow.registry.ledger import Actor
from certflow.settings import Settings

REFUSED = 71


def send_whole(settings: Settings, package_id: int) -> None:
    """Exit 0 when the send said SENT or UNKNOWN, REFUSED when it gave up."""
    assert not {"airflow", "great_expectations"} & set(sys.modules)
    registry = open_registry(settings)
    try:
        send(settings, registry, package_id, Actor("tester", run="killed"))
    except CertflowError:
        os._exit(REFUSED)
    os._exit(0)
