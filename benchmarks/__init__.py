"""What the bars of DESIGN section 5 are checked with; each folder is a program: `python -m
benchmarks.<name>`.
"""
