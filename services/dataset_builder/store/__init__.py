"""The SQL of the dataset-builder: one module for each table."""
