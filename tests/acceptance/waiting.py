"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(what: str, condition: Callable[[], object], timeout: float, pause: float = 0.2) -> float:
    """Wait until ``condition`` returns something true; return the seconds it took.

    An exception of the network (OSError, EOFError) or a failed assertion counts as "not yet". Raises AssertionError
    after ``timeout`` seconds, with the last such reason. ``pause`` is between two tries.
    """
    start = time.monotonic()
    while True:
        reason = "it was not so"
        try:
            if condition():
                return time.monotonic() - start
        except (OSError, EOFError, AssertionError) as error:
            reason = f"{type(error).__name__}: {error}"
        if time.monotonic() - start > timeout:
            raise AssertionError(f"{what}: not within {timeout:.0f} s ({reason})")
        time.sleep(pause)
