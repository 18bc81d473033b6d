"""Whether one part of Airflow is alive, as its API server sees it: ``python deploy/healthy.py scheduler [URL]``.

Exit code 0 or 1. Without imports of Airflow, which would cost seconds of CPU at every look.
"""

import json
import sys
import urllib.request

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def healthy(part: str, url: str) -> bool:
    """Whether the API server answers and calls the part healthy."""
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as reply:  # noqa: S310 (the operator's own)
            status: object = json.load(reply)[part]["status"]
    except (OSError, ValueError, KeyError):
        return False
    return status == "healthy"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in PARTS:
        sys.exit(f"usage: healthy.py {'|'.join(PARTS)} [URL]")
    sys.exit(not healthy(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "http://127.0.0.1:8080"))
