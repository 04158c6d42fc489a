"""Processes under measurement: pinned to one core or free, with their CPU time and memory read from
/proc.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from shared.errors import RatchetError

SERVER_CORE = 0
LOAD_CORE = 1
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 180.0  # Phoenix imports for half a minute on a busy machine


class DidNotStart(RatchetError):
    def __init__(self, name: str, log: Path) -> None:
        super().__init__(
            f"{name} did not start; the end of its log"
            f" ({log}):\n{log.read_text(errors='replace')[-1500:]}"
        )


class Process:
    """A program, with what it starts; never outlives its `with`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.environment = dict(environment or {})

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
                cwd=Path.cwd(),
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_for_port(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.1)
        raise DidNotStart(self.name, self.log)

    def cpu_seconds(self) -> float:
        return sum(map(cpu_seconds, self._family()))

    def memory_mb(self) -> float:
        """Return what its processes hold at their highest, counted for each."""
        return sum(map(memory_mb, self._family()))

    def _family(self) -> list[int]:
        """Return the ids of the program and of all that it started."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found.extend(map(int, children))
        return found


class Pinned(Process):
    """A program on one core."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        core: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, ["taskset", "-c", str(core), *argv], folder, environment)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int | str = "self") -> float:
    """Resident, at its highest."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
