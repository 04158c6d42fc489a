"""A throw-away PostgreSQL server for the tests, where its binaries are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
import uuid
from glob import glob
from pathlib import Path

from tests.kafka import free_port


def _binary(name: str) -> str | None:
    found = shutil.which(name)
    return found or next(
        iter(sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None
    )


def postgres_missing() -> str | None:
    missing = [name for name in ("initdb", "postgres") if not _binary(name)]
    return f"PostgreSQL binaries not found: {', '.join(missing)}" if missing else None


class PostgresServer:
    """Listens on loopback only; runs as `postgres` (or nobody) when the tests run as root, which
    PostgreSQL refuses.
    """

    def __init__(self, folder: Path, durable: bool = False) -> None:
        self.fsync = "on" if durable else "off"
        # pytest's own folders are closed to other users
        self.data = Path("/tmp") / f"ratchet-pg-{uuid.uuid4().hex[:8]}"
        self.log = folder / "postgres.log"
        self.port = free_port()

    def __enter__(self) -> PostgresServer:
        self.data.mkdir()
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.data, self._user)
        self._run(
            _binary("initdb"),
            "-D",
            str(self.data),
            "-U",
            "ratchet",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                _binary("postgres"),
                "-D",
                str(self.data),
                "-p",
                str(self.port),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                f"fsync={self.fsync}",
                "-c",
                f"unix_socket_directories={self.data}",
                "-c",
                "max_connections=200",
            ],
            user=self._user,
            stdout=self.log.open("a"),
            stderr=subprocess.STDOUT,
            cwd="/tmp",
        )
        self._wait()

    def kill(self) -> None:
        """As a machine that loses its power."""
        self.process.kill()
        self.process.wait()

    def new_database(self, suffix: str = "") -> str:
        name = f"t{uuid.uuid4().hex[:12]}{suffix}"
        self._run(
            "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "ratchet",
            "-d",
            "postgres",
            "-c",
            f"create database {name}",
        )
        return f"postgresql+asyncpg://ratchet@127.0.0.1:{self.port}/{name}"

    def _run(self, *argv: str) -> None:
        done = subprocess.run(argv, user=self._user, capture_output=True, text=True, cwd="/tmp")
        if done.returncode:
            raise RuntimeError(f"{argv[0]} failed: {done.stderr}")

    def _wait(self) -> None:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                self._run(
                    "psql",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(self.port),
                    "-U",
                    "ratchet",
                    "-d",
                    "postgres",
                    "-c",
                    "select 1",
                )
                return
            except (OSError, RuntimeError):
                time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text()[-500:]}")


def _unprivileged_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
