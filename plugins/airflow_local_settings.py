"""What every process of Airflow imports first: a service with settings for developers ends here (`start_check`).

The scheduler and a Celery worker also import what their forks, the tasks, then find there already (`preloaded`).
"""

import os
import sys
from pathlib import Path

import start_check

start_check.refuse()
if start_check.SERVICES.intersection(sys.argv[1:2]):
    os.umask(0o077)  # in a container nobody else has set it

if "scheduler" in sys.argv[1:2] or sys.argv[1:3] == ["celery", "worker"]:
    from airflow.configuration import conf

    import preloaded

    preloaded.preload(Path(conf.get("core", "dags_folder")))
