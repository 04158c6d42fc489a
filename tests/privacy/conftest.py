"""The worlds of the fault tests, to look into everything that the six services keep."""

from tests.faults.conftest import embedded, new_world, zygote

__all__ = ["embedded", "new_world", "zygote"]
