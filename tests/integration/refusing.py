"""A training of two processes: the second one refuses, while the first waits for it for ever."""

from __future__ import annotations

import os
import sys
import time

from shared.child import die_with_parent, say

if __name__ == "__main__":
    die_with_parent()
    if os.environ["RANK"] == "1":
        say(refused="no room on the second GPU")
        sys.exit(2)
    sys.stderr.write("waiting for the others\n" * 50_000)
    time.sleep(600)
