"""What the scheduler imports before it forks: LocalExecutor's tasks are its forks and find it there already.

Importing Great Expectations costs seconds; sixteen cities would pay it every five minutes. Only the scheduler
does this: Airflow imports this module in every one of its processes.
"""

import sys

if "scheduler" in sys.argv[1:2]:
    import certflow.checks.judge
    import certflow.checks.run
    import certflow.intake.pull  # noqa: F401 (imported so that it is there)
