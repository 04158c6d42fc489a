"""Capture beside Arize Phoenix and beside the bare producer, on one core, in one run."""
