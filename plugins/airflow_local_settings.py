"""What every process of Airflow imports first: a service with settings for developers ends here (`start_check`).

The scheduler and a Celery worker also import what their forks, the tasks, then find there already: importing Great
Expectations costs seconds; sixteen cities would pay it every five minutes.
"""

import importlib
import os
import sys

import start_check

start_check.refuse()
if start_check.SERVICES.intersection(sys.argv[1:2]):
    os.umask(0o077)  # in a container nobody else has set it

if "scheduler" in sys.argv[1:2] or sys.argv[1:3] == ["celery", "worker"]:
    import certflow.checks.judge
    import certflow.checks.run
    import certflow.dispatch.send
    import certflow.intake.pull
    import certflow.returns.apply  # noqa: F401 (imported so that it is there)

    # What a city's answers are written with; the program imports these where it uses them.
    for library in ("PIL.ImageDraw", "mplfonts", "openpyxl", "simplejpeg", "typst", "xlwt"):
        importlib.import_module(library)
