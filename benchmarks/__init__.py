"""What the speed that we promise is checked with: `python -m benchmarks.<name>`."""
