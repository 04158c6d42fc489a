"""What evaluation may keep out of training, compared by simulation."""
