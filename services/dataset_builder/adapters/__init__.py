"""What the dataset-builder stands on: its tables, and the files of a dataset."""
