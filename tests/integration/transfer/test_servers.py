"""The embedded servers: a process of their own, public keys only, nothing but files."""

import os
import signal
import subprocess
import sys
import time

import asyncssh
import pytest

from certflow.demo import servers
from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.errors import AccessRefused
from certflow.settings import Settings
from certflow.sftp import connect


@pytest.mark.slow
def test_both_servers_run_as_a_process_until_it_is_told_to_stop(tmp_path):
    command = [sys.executable, "-m", "certflow.demo.servers", str(tmp_path)]
    addresses = []
    for _ in range(2):
        process = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + 60
            while not (tmp_path / "sftp" / "authority.json").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            city, authority = servers.addresses(tmp_path)
            assert city.pid == process.pid
            with connect(city.remote(), 10) as session:
                assert len(session.list("/")) >= 16
            with connect(authority.remote(servers.AUTHORITY), 10) as session:
                assert {file.name for file in session.list("/")} >= {"上报", "返回", "归档"}
            addresses.append((city.known_hosts.read_text(), authority.known_hosts.read_text()))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not (tmp_path / "sftp" / "city.json").exists()
    assert addresses[0] == addresses[1]  # keys survive a restart, and so do free ports


def test_the_environment_of_an_address_is_what_settings_read(tmp_path):
    with CitySftp(tmp_path / "c", ["370100"]) as city, AuthoritySftp(tmp_path / "a") as authority:
        environment = city.address.environment("CERTFLOW_CITY_SFTP") | authority.address.environment(
            "CERTFLOW_AUTHORITY_SFTP"
        )
        settings = Settings.load(environment)
        assert settings.city_sftp == city.remote()
        assert settings.authority_sftp == authority.remote()


def test_private_keys_are_private(tmp_path):
    with CitySftp(tmp_path, ["370100"]) as city:
        for key in (*city.address.keys.values(), tmp_path / "host_key"):
            assert key.stat().st_mode & 0o077 == 0


def test_one_citys_key_does_not_open_another_citys_folder(tmp_path):
    with CitySftp(tmp_path, ["370100", "370200"]) as city:
        wrong = city.address.remote("370100")
        stranger = type(wrong)(wrong.host, wrong.port, "370200", wrong.key, wrong.known_hosts)
        with pytest.raises(AccessRefused), connect(stranger, 10):
            pass
        nobody = type(wrong)(wrong.host, wrong.port, "../370200", wrong.key, wrong.known_hosts)
        with pytest.raises(AccessRefused), connect(nobody, 10):
            pass


@pytest.mark.parametrize("what", ["shell", "forward", "password"])
def test_nothing_but_files_is_served(tmp_path, what):
    import asyncio

    async def ask(remote):
        options = {"known_hosts": str(remote.known_hosts), "config": None, "agent_path": None}
        if what == "password":
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(
                    remote.host, remote.port, username=remote.user, password="x", client_keys=None, **options
                )
            return
        async with asyncssh.connect(
            remote.host, remote.port, username=remote.user, client_keys=[str(remote.key)], **options
        ) as connection:
            request = connection.run("true") if what == "shell" else connection.open_connection("127.0.0.1", 22)
            with pytest.raises(asyncssh.ChannelOpenError):
                await request

    with CitySftp(tmp_path, ["370100"]) as city:
        asyncio.run(ask(city.remote("370100")))


def test_a_stopped_server_leaves_no_thread(tmp_path):
    import threading

    before = threading.active_count()
    with CitySftp(tmp_path, ["370100"]) as city, connect(city.remote(), 10) as session:
        (city.address.tree / "370100" / "a").write_bytes(os.urandom(10))
        session.hash("/370100/a")
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before
