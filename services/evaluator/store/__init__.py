"""The SQL of the evaluator."""
