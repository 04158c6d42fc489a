"""The SQL of dataset-builder."""
