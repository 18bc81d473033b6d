"""Run one program in a user namespace in which root is somebody else; used as a script, never imported.

PostgreSQL refuses to run as root. Where no unprivileged user can reach the data directory, its programs run
under this one: outside the namespace they stay root (so they reach what root owns, without any folder's mode
being changed), inside they are the user `INNER`, without a single capability.

    python -I -S enclose.py INNER PROGRAM ARGUMENT…
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import NoReturn

CLONE_NEWUSER = 0x10000000
REFUSED = 126
"""Exit code when the kernel or a container's policy allows no user namespace."""


def main() -> None:
    """Enter the namespace and become the program."""
    inner, program = sys.argv[1], sys.argv[2:]
    uid, gid = os.geteuid(), os.getegid()
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
            refuse(os.strerror(ctypes.get_errno()))
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{inner} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{inner} {gid} 1", encoding="ascii")
    except (OSError, AttributeError) as error:  # AttributeError: no Linux, no unshare
        refuse(str(error))
    os.execv(program[0], program)  # noqa: S606 (the caller names an absolute path; no shell is wanted)


def refuse(reason: str) -> NoReturn:
    """Say why there is no namespace, and end."""
    sys.stderr.write(f"no user namespace: {reason}\n")
    raise SystemExit(REFUSED)


if __name__ == "__main__":
    main()
