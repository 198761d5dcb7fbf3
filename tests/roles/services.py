"""What holds for every service: it heals when it is killed, and it starts at boot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.acceptance.machine import STACK, Machine
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

        def is_back(pid: int = process.pid) -> bool:
            now = machine.main_processes(component)
            return len(now) == len(before) and pid not in {one.pid for one in now} and bool(serves())

        wait_until(f"{process.line} is back", is_back, LIMIT)
        longest = max(longest, time.monotonic() - began)
    return longest


def is_enabled(machine: Machine, *names: str) -> bool:
    """Tell whether the service manager starts one of these services at boot; the whole site's tests really reboot."""
    if machine.service_manager == "systemd":
        return any(machine.host.run(f"systemctl is-enabled {name}").stdout.strip() == "enabled" for name in names)
    return any(machine.host.run(f"test -e /etc/runlevels/default/{name}").rc == 0 for name in names)


def _health(inspected: str) -> str:
    return str(json.loads(inspected)[0]["State"]["Health"]["Status"])


def is_hardened(machine: Machine, service: str) -> bool:
    """Tell whether a service of the stack runs as it should, and comes back with the stack at boot."""
    inspect = f"cd {STACK} && docker inspect $(docker compose ps --quiet {service})"
    # Other tests killed it just before.
    wait_until(f"{service} is healthy", lambda: _health(machine.run(inspect)) == "healthy", LIMIT)
    container = json.loads(machine.run(inspect))[0]
    host = container["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert not container["Config"]["Image"].endswith(":latest")
    return is_enabled(machine, "slipway-stack")


def starts_at_boot(machine: Machine, container: str, *services: str) -> bool:
    """Tell whether a component starts at boot: its container with the stack, or one of these native services."""
    return is_hardened(machine, container) if machine.compose else is_enabled(machine, *services)
