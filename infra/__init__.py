"""How Ratchet is run: set-up, the `ratchet` command, the local supervisor, topic provisioning,
deployment.
"""
