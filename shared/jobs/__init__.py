"""Long work: stored, leased, fenced, done in a child process."""
