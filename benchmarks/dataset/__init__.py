"""How long a dataset of a million verdicts takes to curate and split, and in how much memory."""
