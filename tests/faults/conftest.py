"""Faults against a real OpenSSH server: the servers and the proxy of the transfer tests, set to OpenSSH alone."""

import importlib.util
import sys
from pathlib import Path

import pytest
from tests import real_sshd

_PATH = Path(__file__).parents[1] / "integration" / "transfer" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("transfer_servers", _PATH)
servers = importlib.util.module_from_spec(_SPEC)
sys.modules["transfer_servers"] = servers
_SPEC.loader.exec_module(servers)

wire, city, authority, office, approved = (
    getattr(servers, name) for name in ("wire", "city", "authority", "office", "approved")
)


@pytest.fixture
def sshd(tmp_path):
    """A running sshd of this test's own; `process` is its pid's handle."""
    if not real_sshd.sshd():
        pytest.skip("OpenSSH server is not installed")
    server = real_sshd.OpenSsh(tmp_path / "far")
    yield server
    server.close()


@pytest.fixture
def far(sshd):
    return servers.Far(sshd.remote, sshd.tree)
