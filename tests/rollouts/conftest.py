"""The worlds of the fault tests, for adapters that are at fault."""

from tests.faults.conftest import embedded, new_world, zygote

__all__ = ["embedded", "new_world", "zygote"]
