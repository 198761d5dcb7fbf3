"""Killing what serves, and waiting until it serves again."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.acceptance.machine import Machine, Process
from tests.acceptance.waiting import wait_until

LIMIT = 30  # seconds, from the signal until the service serves again


def kill_each(machine: Machine, component: str, serves: Callable[[], object]) -> list[tuple[Process, float]]:
    """Kill each main process of a component in turn; return them with the seconds until the component served again.

    Raises AssertionError if none runs, if it doesn't serve to begin with, or if one doesn't come back in time.
    """
    before = machine.main_processes(component)
    assert before, f"no process of {component} runs"
    assert serves(), f"{component} doesn't serve to begin with"
    killed = []
    for process in before:
        start = time.monotonic()
        machine.at(component).run(f"kill -9 {process.pid}")

        def is_back(pid: int = process.pid) -> bool:
            now = machine.main_processes(component)
            return len(now) == len(before) and pid not in {one.pid for one in now} and bool(serves())

        wait_until(f"{process.line} is back after kill -9", is_back, LIMIT)
        seconds = time.monotonic() - start
        assert seconds <= LIMIT
        killed.append((process, seconds))
    return killed
