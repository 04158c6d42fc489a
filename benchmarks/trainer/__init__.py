"""How fast the trainer learns, beside stock TRL on the same rows in the same run."""
