"""The folder everything local lives in (`.ratchet`), and the state file by which other commands
find a running system.

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
from typing import IO, Any

from shared.errors import RatchetError

MIN_FREE_BYTES = (
    1024**3
)  # an adapter is some MB, but SQLite and the event log must never meet a full disk


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
        """Held until closed; refuses when somebody else supervises this folder."""
        file = (self.path / "lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise AlreadyRunning(self.path, self._read().get("pid")) from None
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

    def state(self) -> dict[str, Any]:
        """What runs here now. A state file that a killed supervisor left is not believed."""
        if not self.is_running():
            raise NotRunning(self.path)
        return self._read()

    def write_state(self, state: dict[str, Any]) -> None:
        write_atomically(self._state_file, json.dumps(state, indent=1))

    def forget_state(self) -> None:
        self._state_file.unlink(missing_ok=True)

    def credentials(self) -> dict[str, str]:
        return (
            json.loads(self.credentials_file.read_text()) if self.credentials_file.exists() else {}
        )

    def secret(self, name: str) -> str:
        """A random secret, made on first use and the same from then on."""
        file = self.path / f"{name}.secret"
        if not file.exists():
            write_atomically(file, secrets.token_urlsafe(32), 0o600)
        return file.read_text()

    def _read(self) -> dict[str, Any]:
        return json.loads(self._state_file.read_text()) if self._state_file.exists() else {}


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Readers see the old file or the new one, never half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.touch(mode)
    partial.write_text(text)
    partial.replace(path)
