"""What the router stands on: its database, vLLM, and the store of adapters."""
