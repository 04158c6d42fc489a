"""Evaluator: is an adapter better than what it replaces, how far can its confidence be trusted, and
has the world moved.
"""
