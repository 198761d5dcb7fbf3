"""Whether the summary is that of this machine's lab, where a test may run the playbook."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.acceptance.summary import Summary
from tests.repository import ROOT, load

# Ansible's programs lie beside the Python that runs the tests.
BIN = Path(sys.executable).parent
# The one of the lab's platforms whose archive has no Compose.
NATIVE_ALONE = "debian12-systemd"
INVENTORY = ROOT / ".slipway" / "lab" / "inventory" / "hosts.yml"


def hosts() -> dict[str, dict[str, object]]:
    """Return the hosts of the lab's inventory, with their variables."""
    content = load(INVENTORY) or {}
    found: dict[str, dict[str, object]] = (content.get("all") or {}).get("hosts") or {}
    return found


def _target(summary: Summary) -> dict[str, Any] | None:
    """Return what the lab keeps of the summary's target; none if it isn't one of the lab's inventory."""
    for path in (ROOT / ".slipway" / "lab" / "targets").glob("*/target.json"):
        target: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if target["address"] == summary.ssh.host and target["name"] in hosts():
            return target
    return None


def why_not(summary: Summary) -> str:
    """Return why the playbook can't be run here, or nothing if it can."""
    return "" if _target(summary) else "it runs the playbook, and the summary is not of this machine's lab"


def platform(summary: Summary) -> str:
    """Return the platform of the summary's target, as the lab calls it."""
    target = _target(summary)
    assert target
    return str(target["platform"])


@functools.cache
def sites() -> dict[str, dict[str, Any]]:
    """Return slipway_sites of the inventory by name, as it is written there."""
    host = next(iter(hosts()))
    command = ("ansible-inventory", "-i", str(INVENTORY.parent), "--host", host)
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, check=True)
    return {site["name"]: site for site in json.loads(done.stdout)["slipway_sites"]}
