"""The harness's end of the zygote: fork a life, and learn how it ended. Usable from any thread and
any event loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from shared.child import die_with_parent
from tests.faults.life import Life

ROOT = Path(__file__).parents[2]
SINGLE_THREADED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS"), "1"
)
START_SECONDS = 120.0
LOOK_SECONDS = 0.005


class ZygoteDied(Exception):
    pass


class Zygote:
    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._forked: queue.Queue[int] = queue.Queue()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self.ended: dict[int, int] = {}
        self.stopped: set[int] = set()
        self.alive: set[int] = set()

    def __enter__(self) -> Self:
        environment = os.environ | SINGLE_THREADED
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._ready.wait(START_SECONDS) or self.process.poll() is not None:
            raise ZygoteDied(Path(self._log.name).read_text()[-2000:])
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self.alive):
            self.signal(pid, signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(20)
        self._log.close()

    def fork(self, life: Life) -> int:
        with self._lock:
            self.process.stdin.write(json.dumps({"fork": life.as_json()}).encode() + b"\n")
            self.process.stdin.flush()
            return self._forked.get(timeout=START_SECONDS)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Only to children that we forked and that have not ended."""
        if pid in self.alive:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    async def end_of(self, pid: int) -> int:
        while pid not in self.ended:
            if self.process.poll() is not None:
                raise ZygoteDied(Path(self._log.name).read_text()[-2000:])
            await asyncio.sleep(LOOK_SECONDS)
        return self.ended[pid]

    def _listen(self) -> None:
        for line in self.process.stdout:
            message = json.loads(line)
            if "forked" in message:
                # numbers come round again: 1,000 kills use up half of them
                self.ended.pop(message["forked"], None)
                self.stopped.discard(message["forked"])
                self.alive.add(message["forked"])
                self._forked.put(message["forked"])
            elif "ended" in message:
                self.ended[message["ended"]] = message["status"]
                self.alive.discard(message["ended"])
            elif "stopped" in message:
                self.stopped.add(message["stopped"])
            elif "ready" in message:
                self._ready.set()
        self._ready.set()
