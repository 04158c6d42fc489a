"""The folder that everything local lives in, and the state file that tells what runs there.

Whoever supervises holds a lock on `home/lock`; the kernel drops it when the supervisor dies, so a
stale state file is told from a live one without guessing by process id.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import IO, TypedDict

from shared.errors import RatchetError

# An adapter is some MB, but SQLite and the event log must never meet a full disk
MIN_FREE_BYTES = 1024**3


class AlreadyRunning(RatchetError):
    def __init__(self, home: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{who} already runs Ratchet in {home}: stop it with 'ratchet down', or choose another"
            " folder with --home"
        )


class NotRunning(RatchetError):
    def __init__(self, home: Path) -> None:
        super().__init__(
            f"nothing runs in {home}: start it with 'ratchet up', or name its folder with --home"
        )


class DiskFull(RatchetError):
    def __init__(self, home: Path, free: int) -> None:
        super().__init__(
            f"only {free / 1024**3:.1f} GiB are free at {home}, 1 GiB is needed: free some, or"
            " choose another disk with --home"
        )


class PartEntry(TypedDict):
    """What the state file says of one part; `since` is the time of its last change of state."""

    name: str
    state: str
    detail: str
    pid: int | None
    url: str
    restarts: int
    since: float
    ours: bool


class StateFile(TypedDict):
    """The state file, as long as a supervisor runs; `started` in seconds since 1970."""

    pid: int
    started: float
    urls: dict[str, str]
    kafka: str
    event_log: str
    parts: list[PartEntry]


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    @property
    def keys_file(self) -> Path:
        return self.path / "keys.json"

    @property
    def credentials_file(self) -> Path:
        return self.path / "credentials.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def _state_file(self) -> Path:
        return self.path / "state.json"

    def prepare(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.path / "artifacts").mkdir(exist_ok=True)
        if (free := shutil.disk_usage(self.path).free) < MIN_FREE_BYTES:
            raise DiskFull(self.path, free)

    def lock(self) -> IO[str]:
        """Take the lock, which is held until closed; raise where somebody else has it."""
        file = (self.path / "lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            state = self._read()
            raise AlreadyRunning(self.path, state["pid"] if state else None) from None
        return file

    def is_running(self) -> bool:
        if not (self.path / "lock").exists():
            return False
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def state(self) -> StateFile:
        """Say what runs here now; a state file that a killed supervisor left does not count."""
        if not self.is_running() or (state := self._read()) is None:
            raise NotRunning(self.path)
        return state

    def write_state(self, state: StateFile) -> None:
        write_atomically(self._state_file, json.dumps(state, indent=1))

    def forget_state(self) -> None:
        self._state_file.unlink(missing_ok=True)

    def credentials(self) -> dict[str, str]:
        if not self.credentials_file.exists():
            return {}
        secrets_by_role: dict[str, str] = json.loads(self.credentials_file.read_text())
        return secrets_by_role

    def secret(self, name: str) -> str:
        """Return a random secret, made on first use and the same from then on."""
        file = self.path / f"{name}.secret"
        if not file.exists():
            write_atomically(file, secrets.token_urlsafe(32), 0o600)
        return file.read_text()

    def _read(self) -> StateFile | None:
        if not self._state_file.exists():
            return None
        state: StateFile = json.loads(self._state_file.read_text())
        return state


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file so that readers see the old one or the new one, never half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.touch(mode)
    partial.write_text(text)
    partial.replace(path)
