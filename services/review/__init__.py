"""review: decides which answers a human sees, shows them to reviewers, and publishes their
verdicts.
"""
