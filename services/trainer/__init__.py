"""trainer: datasets into adapters. A stored job per dataset, run in a child process; only
`train.py` imports torch.
"""
