"""What holds for every service: it heals when it is killed, and it starts at boot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.acceptance.machine import NATIVE_SERVICES, SERVICES, STACK, Machine
from tests.acceptance.waiting import wait_until

LIMIT = 30  # seconds, from the signal until the service serves again


def kill_and_wait(machine: Machine, component: str, serves: Callable[[], object]) -> float:
    """Kill each main process of a component in turn; return the longest time, in seconds, until it served again.

    Raises AssertionError if none runs, or if one doesn't come back in time.
    """
    before = machine.main_processes(component)
    assert before, f"no process of {component} runs"
    longest = 0.0
    for process in before:
        began = time.monotonic()
        machine.run(f"kill -9 {process.pid}")

        def is_replaced(pid: int = process.pid) -> bool:
            now = machine.main_processes(component)
            return len(now) >= len(before) and pid not in {one.pid for one in now} and bool(serves())

        wait_until(f"{process.line} is back", is_replaced, LIMIT)
        longest = max(longest, time.monotonic() - began)
    return longest


def starts_at_boot(machine: Machine, component: str) -> bool:
    """Tell whether a component is enabled; the scenario of the whole site reboots for real."""
    if machine.compose:
        ids = machine.run(f"cd {STACK} && docker compose ps --quiet {SERVICES[component]}").split()
        policies = [json.loads(machine.run(f"docker inspect --format '{{{{json .HostConfig}}}}' {one}")) for one in ids]
        restarts = [policy["RestartPolicy"]["Name"] for policy in policies]
        return set(restarts) == {"unless-stopped"} and is_enabled(machine, "slipway-stack", "docker")
    return any(is_enabled(machine, name) for name in NATIVE_SERVICES[component])


def is_enabled(machine: Machine, *services: str) -> bool:
    """Tell whether the service manager starts all these at boot."""
    if machine.service_manager == "systemd":
        return all(machine.host.run(f"systemctl is-enabled {name}").stdout.strip() == "enabled" for name in services)
    return all(machine.host.run(f"test -e /etc/runlevels/default/{name}").rc == 0 for name in services)
