"""A real VM: provisioned as a user does it, rebooted, and its power cut while people write.

Takes long where the VM is emulated, so `make vm-test` runs it and nothing else does. The acceptance suite follows, by
the summary that the run here leaves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import yaml

from lab import inventory, platforms, targets, vm, wordpress
from tests.acceptance import runs, summary
from tests.acceptance.summary import Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client, all_served
from tests.acceptance.wordpress import Author, log_in_administrator
from tests.conftest import FIGURES
from tests.repository import ROOT

FOLDER = ROOT / ".slipway" / "vm"
STATE = FOLDER / "state"
NAME = "vm1"
# Seconds: an emulated machine is slow, and none of this is a promise about time.
RUN = 5400
SERVED = 900
WRITTEN = 300
# Posts that are acknowledged before the power goes.
POSTS = 5


@dataclass
class Machine:
    """The VM, and how the playbook is run against it."""

    vm: vm.Vm
    figures: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, *arguments: str) -> runs.Run:
        """Run site.yml to its end; the time is kept by this name, and the output beside the inventory."""
        with (FOLDER / f"{name}.log").open("w", encoding="utf-8", buffering=1) as log:
            # Written as it comes, for who waits for it; nothing is cut.
            def keep(line: str) -> bool:
                log.write(line)
                return False

            run = runs.finish(runs.start(FOLDER, *arguments, inventory=FOLDER / "inventory"), keep, timeout=RUN)
        self.figures[f"VM: {name}"] = run.seconds
        return run


def _write_inventory(machine: vm.Vm, provider: str) -> None:
    folder = FOLDER / "inventory"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "group_vars").unlink(missing_ok=True)
    (folder / "group_vars").symlink_to(ROOT / "inventory" / "group_vars")
    target = targets.Target(machine.name, platforms.DEFAULT, machine.address, inventory.GROUPS)
    # An emulated processor keeps nobody waiting for a reason.
    connection = {**targets.connection(target), "ansible_timeout": "60"}
    content = inventory.build([(target, connection)], {"slipway_provider": provider, **wordpress.variables()})
    (folder / "hosts.yml").write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture(scope="module")
def machine(pytestconfig: pytest.Config) -> Iterator[Machine]:
    """Return a VM that was just made; it stays for the acceptance suite, `make down` removes it."""
    began = time.monotonic()
    made = Machine(vm.create(NAME))
    made.figures["VM: made and booted"] = time.monotonic() - began
    _write_inventory(made.vm, pytestconfig.getoption("--provider"))
    yield made
    pytestconfig.stash[FIGURES].update(made.figures)


@pytest.fixture(scope="module")
def told(machine: Machine) -> Summary:
    """Provision the VM; return what the run tells."""
    run = machine.run("first run", "-e", f"slipway_state_dir={STATE}")
    assert run.code == 0, run.output[-3000:]
    return summary.read(STATE / "summary.json")


def test_a_bare_vm_becomes_served_sites(told: Summary) -> None:
    assert all_served(told)


def test_everything_is_back_after_a_reboot(machine: Machine, told: Summary) -> None:
    began = time.monotonic()
    vm.reboot(machine.vm)
    machine.figures["VM: reboot until ssh"] = time.monotonic() - began
    machine.figures["VM: served after ssh"] = wait_until("all sites are served", lambda: all_served(told), SERVED)


@dataclass
class Writer:
    """Writes posts until it is stopped, and keeps the links of those that were acknowledged."""

    author: Author
    links: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        while not self.stopped.is_set():
            text = f"written {len(self.links)}"
            try:
                post = self.author.api("POST", "/wp/v2/posts", {"title": text, "content": text, "status": "publish"})
            except (OSError, AssertionError):
                # The power is gone; what was being written is not acknowledged.
                return
            self.links.append(post["link"])


def test_what_was_acknowledged_outlives_a_power_cut(machine: Machine, told: Summary) -> None:
    """The posts are there, the database comes up by itself, and the file system has lost nothing of the sites."""
    site = told.of_type("wordpress")[0]
    author = log_in_administrator(site, told)
    assert author
    writer = Writer(author)
    thread = threading.Thread(target=writer.write, daemon=True)
    thread.start()
    wait_until(f"{POSTS} posts are acknowledged", lambda: len(writer.links) >= POSTS, WRITTEN)
    vm.power_cut(machine.vm)
    acknowledged = list(writer.links)
    writer.stopped.set()
    vm.start(machine.vm)
    machine.figures["VM: served after the power cut and ssh"] = wait_until(
        "all sites are served", lambda: all_served(told), SERVED
    )
    client = Client(site, told.ca_certificate)
    missing = [link for link in acknowledged if client.get(link.removeprefix(site.url)).status != 200]
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged posts are gone: {missing}"


def test_a_run_after_it_changes_nothing(machine: Machine, told: Summary) -> None:
    assert told
    run = machine.run("second run", "-e", f"slipway_state_dir={STATE}")
    assert run.code == 0, run.output[-3000:]
    assert run.changes == []
    assert run.changed == 0
