"""The stand-in of vLLM as a process of its own: `python -m tests.faults.engine PORT`."""

from __future__ import annotations

import asyncio
import sys

from tests.faults.stub_vllm import knowing
from tests.unit.router.fakes import FakeVllm, served


async def serve(port: int) -> None:
    async with served(FakeVllm(knowing).app, port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
