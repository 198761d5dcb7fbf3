"""A VM of the lab, and how the playbook is run against it as its user does it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from lab import inventory, targets, vm, wordpress
from tests.acceptance import runs
from tests.repository import ROOT

# Seconds: an emulated machine is slow, and none of this is a promise about time.
RUN = 5400
SERVED = 900


@dataclass
class Machine:
    """The VM. ``folder`` has the inventory, the state and the output of the runs."""

    vm: vm.Vm
    folder: Path
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """Return where the runs keep what `.slipway` is for other hosts."""
        return self.folder / "state"

    def run(self, name: str, *arguments: str) -> runs.Run:
        """Run site.yml to its end; the time is kept by this name, and the output beside the inventory."""
        arguments = ("-e", f"slipway_state_dir={self.state}", *arguments)
        with (self.folder / f"{name}.log").open("w", encoding="utf-8", buffering=1) as log:
            # Written as it comes, for who waits for it; nothing is cut.
            def keep(line: str) -> bool:
                log.write(line)
                return False

            started = runs.start(self.folder, *arguments, inventory=self.folder / "inventory")
            run = runs.finish(started, keep, timeout=RUN)
        self.measure(name, run.seconds)
        return run

    def reboot(self) -> None:
        """Reboot it from the inside, and wait until it is back."""
        began = time.monotonic()
        vm.reboot(self.vm)
        self.measure("reboot until ssh", time.monotonic() - began)

    def measure(self, name: str, seconds: float) -> None:
        """Keep a time, to be printed at the end."""
        self.figures[f"{self.vm.platform} VM: {name}"] = seconds


def make(name: str, platform: str, folder: str, provider: str) -> Machine:
    """Return a VM that was just made, with an inventory that has it in all groups; ``folder`` is below .slipway."""
    began = time.monotonic()
    machine = Machine(vm.create(name, platform), ROOT / ".slipway" / folder)
    machine.measure("made and booted", time.monotonic() - began)
    hosts = machine.folder / "inventory"
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "group_vars").unlink(missing_ok=True)
    (hosts / "group_vars").symlink_to(ROOT / "inventory" / "group_vars")
    target = targets.Target(name, platform, machine.vm.address, inventory.GROUPS)
    # An emulated processor keeps nobody waiting for a reason.
    connection = {**targets.connection(target), "ansible_timeout": "60"}
    content = inventory.build([(target, connection)], {"slipway_provider": provider, **wordpress.variables()})
    (hosts / "hosts.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return machine
