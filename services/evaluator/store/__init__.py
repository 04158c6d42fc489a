"""What the evaluator keeps: its SQL, and the answers heard so far as files."""
