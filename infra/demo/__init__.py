"""`ratchet demo`: the loop closes twice, on real text with a real model, and is measured."""
