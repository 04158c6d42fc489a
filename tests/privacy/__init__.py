"""How much personal data is found in realistic text, and how much else is left alone.

`python -m tests.privacy` measures it on the corpus beside this file and writes docs/privacy.md.
"""
