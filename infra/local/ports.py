"""Which part listens where. One base moves all of them."""

from __future__ import annotations

import socket

from shared.errors import RatchetError

DEFAULT_BASE = 8100
OFFSETS = {
    "router": 0,
    "capture": 1,
    "review": 2,
    "dataset-builder": 3,
    "trainer": 4,
    "evaluator": 5,
    "vllm-serving": 100,
    "vllm-evaluation": 101,
    # 9092 from the default base.
    "broker": 992,
}
HOST = "127.0.0.1"


class PortBusy(RatchetError):
    def __init__(self, port: int, part: str) -> None:
        super().__init__(
            f"port {port}, which {part} needs, is in use: end what listens there ('ss -ltnp sport ="
            f" :{port}' names it), or choose another range with --port-base"
        )


class BadPortBase(RatchetError):
    def __init__(self, base: int) -> None:
        super().__init__(
            f"--port-base {base} does not work: choose a number from 1024 to"
            f" {65535 - max(OFFSETS.values())}"
        )


def plan_ports(base: int) -> dict[str, int]:
    """Return each part's port, from `base` on.

    The event log alone may move to another port: nobody but our own parts connects to it.
    """
    if not 1024 <= base <= 65535 - max(OFFSETS.values()):
        raise BadPortBase(base)
    ports = {part: base + offset for part, offset in OFFSETS.items()}
    return ports | {"broker": ports["broker"] if is_free(ports["broker"]) else free_port()}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, part: str) -> None:
    if not is_free(port):
        raise PortBusy(port, part)
