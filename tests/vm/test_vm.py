"""A real VM: provisioned as a user does it, rebooted, and its power cut while people write.

Takes long where the VM is emulated, so `make vm-test` runs it and nothing else does. The acceptance suite follows, by
the summary that the run here leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lab import platforms, vm
from tests.acceptance import summary
from tests.acceptance.summary import Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client, all_served
from tests.acceptance.wordpress import Author, log_in_administrator
from tests.conftest import FIGURES
from tests.vm.machine import SERVED, Machine, make

# Seconds; see machine.py.
WRITTEN = 300
# Posts that are acknowledged before the power goes.
POSTS = 5


@pytest.fixture(scope="module")
def machine(pytestconfig: pytest.Config) -> Iterator[Machine]:
    """Return a VM that was just made; it stays for the acceptance suite, `make down` removes it."""
    made = make("vm1", platforms.DEFAULT, "vm", pytestconfig.getoption("--provider"))
    yield made
    pytestconfig.stash[FIGURES].update(made.figures)


@pytest.fixture(scope="module")
def told(machine: Machine) -> Summary:
    """Provision the VM; return what the run tells."""
    run = machine.run("first run")
    assert run.code == 0, run.output[-3000:]
    return summary.read(machine.state / "summary.json")[0]


def test_a_bare_vm_becomes_served_sites(told: Summary) -> None:
    assert all_served(told)


def test_everything_is_back_after_a_reboot(machine: Machine, told: Summary) -> None:
    machine.reboot()
    machine.measure("served after ssh", wait_until("all sites are served", lambda: all_served(told), SERVED))


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
    back = wait_until("all sites are served", lambda: all_served(told), SERVED)
    machine.measure("served after the power cut and ssh", back)
    client = Client(site, told.ca_certificate)
    missing = [link for link in acknowledged if client.get(link.removeprefix(site.url)).status != 200]
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged posts are gone: {missing}"


def test_a_run_after_it_changes_nothing(machine: Machine, told: Summary) -> None:
    assert told
    run = machine.run("second run")
    assert run.code == 0, run.output[-3000:]
    assert run.changes == []
    assert run.changed == 0
