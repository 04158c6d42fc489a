"""Every promise with a number, tried on simulated truth by the product's own functions.

`python -m tests.simulations` is the long form and writes docs/guarantees.md; the short one is
`test_promises.py`.
"""
