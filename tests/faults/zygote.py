"""Imports all six services once, then forks one process for each incarnation: 30 ms instead of 3 s
of imports.

Run as `python -m tests.faults.zygote`. Reads JSON lines `{"fork": life}` and answers `{"forked":
pid}`; says `{"ended": pid, "status": n}` (negative: the signal) and `{"stopped": pid}` when that
happens to a child. No threads here: they do not survive a fork.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import traceback
from typing import Any

from shared.child import die_with_parent
from tests.faults.incarnation import import_everything, live
from tests.faults.life import Life

LOOK_SECONDS = 0.005


def main() -> None:
    import_everything()
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise copy every page it shares
    say(ready=os.getpid())
    waiting = b""
    while True:
        reap()
        if not select.select([0], [], [], LOOK_SECONDS)[0]:
            continue
        if not (read := os.read(0, 65536)):
            return
        *lines, waiting = (waiting + read).split(b"\n")
        for line in lines:
            say(forked=fork(Life.from_json(json.loads(line)["fork"])))


def fork(life: Life) -> int:
    if pid := os.fork():
        return pid
    status = 1
    try:
        die_with_parent()
        redirect(life.log)
        live(life)
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it was, it must not go on as a second zygote
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def redirect(log: str) -> None:
    """The parent's pipes are not the child's business."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(to, 1)
    os.dup2(to, 2)


def reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            say(stopped=pid)
        else:
            say(ended=pid, status=os.waitstatus_to_exitcode(status))


def say(**message: Any) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
