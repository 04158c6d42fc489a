"""Reads anyone's file of labelled messages, and says what is in it and what was left out."""
