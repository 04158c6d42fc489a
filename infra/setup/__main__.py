"""The command line of the set-up: its steps, and what it says when something is in the way."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from infra.setup.machine import SetupError, check_python
from infra.setup.report import say


def main(arguments: list[str] | None = None) -> int:
    steps = {"services": services, "vllm": vllm, "model": model, "all": everything, "check": check}
    parser = argparse.ArgumentParser(
        prog="python3 -m infra.setup", description="makes this machine ready for Ratchet"
    )
    parser.add_argument("step", choices=[*steps], help="what to make ready; check changes nothing")
    step = parser.parse_args(arguments).step
    try:
        check_python()
        steps[step]()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


# The imports wait for check_python: an older Python must get its message, not an error from a
# module that it cannot read.


def services() -> None:
    from infra.setup.services import make_services_venv

    make_services_venv()


def vllm() -> None:
    from infra.setup.vllm import make_vllm_venv

    make_vllm_venv()


def model() -> None:
    from infra.setup.model import make_model

    # The conversion runs in the services' environment.
    services()
    make_model()


def everything() -> None:
    """Make both environments at once: pip keeps one core busy, and there are two.

    Where nothing but vLLM cannot be had, that is said, and the rest is of use without it.
    """
    with ThreadPoolExecutor(2) as pool:
        rest = pool.submit(model)
        try:
            pool.submit(vllm).result()
        except SetupError as error:
            say("vllm", str(error))
        rest.result()


def check() -> None:
    from infra.setup.model import model_is_ready
    from infra.setup.services import services_are_ready
    from infra.setup.vllm import vllm_is_ready

    ready = {"services": services_are_ready(), "vllm": vllm_is_ready(), "model": model_is_ready()}
    for name, there in ready.items():
        say(name, "ready" if there else f"missing; python3 -m infra.setup {name} makes it")
    if not all(ready.values()):
        raise SetupError("something is missing. Next: make setup")


if __name__ == "__main__":
    sys.exit(main())
