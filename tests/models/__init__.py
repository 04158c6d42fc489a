"""What becomes of a route's rows under the chat templates of common base models.

`python -m tests.models` renders them and writes docs/models.md.
"""
