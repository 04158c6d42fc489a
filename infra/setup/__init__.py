"""Makes a machine ready for Ratchet with nothing but the system's Python.

    python3 -m infra.setup services|vllm|model|all|check

Standard library only, since nothing is installed yet when it runs. Other code asks here where
things are.
"""

from infra.setup.places import base_model_dir, cache_dir, has_gpu, vllm_python

__all__ = ["base_model_dir", "cache_dir", "has_gpu", "vllm_python"]
