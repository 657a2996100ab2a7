"""For an app whose wall clock a test moves: Python imports this at its start where this folder is on its path. The file
that CLOCK_STEP names holds by how many seconds."""

import os
import time

_time = time.time


def stepped() -> float:
    """The time, as far off as the file says."""
    try:
        with open(os.environ["CLOCK_STEP"]) as file:
            return _time() + float(file.read())
    except (OSError, ValueError):
        return _time()


time.time = stepped
