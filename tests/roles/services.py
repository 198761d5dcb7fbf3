"""What holds for every service: it starts at boot, and its container has no more rights than it needs."""

from __future__ import annotations

import json

from tests.acceptance.killing import LIMIT
from tests.acceptance.machine import STACK, Machine
from tests.acceptance.waiting import wait_until


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
