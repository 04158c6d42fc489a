"""The router beside a bare proxy and LiteLLM: requests a second and latency, in one run."""
