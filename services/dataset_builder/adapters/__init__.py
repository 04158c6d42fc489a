"""What the dataset-builder stands on: the files of a dataset."""
