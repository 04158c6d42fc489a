"""Kills what the supervisor started when the supervisor itself is killed.

Reads "+PID" and "-PID" (leaders of process groups) from a pipe whose other end only the supervisor
holds. The end of the pipe means that it is gone, and every group it still had is killed: prctl
reaches children, this reaches grandchildren.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        groups.add(pid) if line[0] == "+" else groups.discard(pid)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
