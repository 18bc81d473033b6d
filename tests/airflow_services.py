"""Airflow on one machine as `certflow up` runs it, without its keeper: a test kills a service and starts it again."""

import contextlib
import sys
import time

from processes import Processes, free_port
from real_airflow import Api

from certflow import airflow_home, logins, stack
from certflow.demo.servers import addresses
from certflow.registry import server


class Services(Processes):
    """The embedded database and SFTP servers, and every service of Airflow; `more` goes into their environment."""

    def __init__(self, settings, more):
        super().__init__(settings.path("airflow", "services"))
        self._lease = server.hold(settings)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.env = airflow_home.environment(settings, port=port) | more
        self.spawn(stack.SFTP, [sys.executable, "-m", "certflow.demo.servers", str(settings.home)], self.env)
        airflow_home.migrate(settings, self.env)
        self.cities, self.authority = self._far_sides(settings)
        self.env |= self.cities.environment("CERTFLOW_CITY_SFTP")
        self.env |= self.authority.environment("CERTFLOW_AUTHORITY_SFTP")
        for name in stack.AIRFLOW:
            self.start(name)
        self.wait()
        login = stack.Pages(self.url, airflow_home.LOGIN, logins.begin(settings, airflow_home.LOGIN))
        self.api = Api(login)

    def __exit__(self, *error):
        super().__exit__(*error)
        self._lease.close()

    def start(self, name):
        """Start a service of Airflow, or start it again."""
        self.spawn(name, [sys.executable, "-m", "airflow", *stack.AIRFLOW[name]], self.env)

    def wait(self):
        """Until the pages answer and the scheduler is well."""
        deadline = time.monotonic() + stack.START_LIMIT
        while not stack.answers(self.url):
            assert time.monotonic() < deadline, self.tail("api-server")
            time.sleep(0.5)

    @staticmethod
    def _far_sides(settings):
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return addresses(settings.home)
            assert time.monotonic() < deadline, "the SFTP servers do not answer"
            time.sleep(0.1)
