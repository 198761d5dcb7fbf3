"""What Molecule's scenarios verify: each role as its users notice it, on every target of the scenario.

Molecule hands over all files; the one of the scenario's role is run. The tests of a role are the same for both of its
providers. What differs between them stands in tests/acceptance/machine.py, as for the whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site, Ssh, Summary
from tests.repository import ROOT, load

HERE = Path(__file__).parent
SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "")
ROLE = SCENARIO.removesuffix("_compose")
PROVIDER = "compose" if SCENARIO.endswith("_compose") else "native"
LANE = os.environ.get("MOLECULE_LANE", "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of the scenario's role; without a scenario, say so."""
    mine = [item for item in items if HERE in item.path.parents]
    if not SCENARIO:
        for item in mine:
            item.add_marker(pytest.mark.skip(reason="Molecule runs it: make molecule ROLE=..."))
        return
    others = [item for item in mine if item.path.stem != f"test_{ROLE}"]
    # A scenario that verifies nothing would pass.
    if mine == others:
        pytest.exit(f"there is no test of the role {ROLE} in {HERE}", returncode=4)
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def targets() -> dict[str, dict[str, str]]:
    """Return the scenario's targets by platform, with their variables, as molecule/shared/create.yml wrote them."""
    if not SCENARIO:
        return {"none": {}}
    inventory = load(Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / "targets.yml")
    found: dict[str, dict[str, str]] = inventory["all"]["hosts"]
    return found


@pytest.fixture(scope="session", params=targets())
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Return a target of the scenario, as one that a run has summed up."""
    variables = targets()[request.param]
    options = dict(word.split("=", 1) for word in variables["ansible_ssh_common_args"].split() if "=" in word)
    ssh = Ssh(
        host=variables["ansible_host"],
        port=int(variables["ansible_port"]),
        user=variables["ansible_user"],
        private_key=variables["ansible_ssh_private_key_file"],
        known_hosts=options["UserKnownHostsFile"],
    )
    state = ROOT / ".slipway" / "molecule" / f"molecule-{PROVIDER}{LANE}-{request.param}"
    summary = Summary(state, (), {}, state / "ca" / "ca.crt", ssh, {}, state / "secrets", PROVIDER)
    target = Machine(summary)
    yield target
    target.disconnect()


@pytest.fixture
def converge(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Return what runs the role again, with other variables than the scenario's; those hold again after the test.

    It returns what the run prints, and raises AssertionError with the end of that where the run fails.
    """
    program = str(Path(sys.executable).parent / "ansible-playbook")
    inventory = str(Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent)
    host = request.node.callspec.params["machine"]
    told: list[dict[str, Any]] = []

    def run(*arguments: str, **variables: Any) -> str:
        told.append(variables)
        done = subprocess.run(
            [program, "role.yml", "-i", inventory, "--limit", host, "-e", json.dumps(variables), *arguments],
            cwd=ROOT / "molecule/shared",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        # Warnings are on the other channel.
        assert done.returncode == 0, (done.stderr + done.stdout)[-3000:]
        return done.stdout + done.stderr

    yield run
    if told and told[-1]:
        run()


@pytest.fixture
def docs(machine: Machine) -> Site:
    """Return the static site that scenarios of the web serve."""
    return site_of(machine, "docs", "static")


@pytest.fixture
def blog(machine: Machine) -> Site:
    """Return the WordPress site that scenarios serve, or a part of it."""
    return site_of(machine, "blog", "wordpress")


def site_of(machine: Machine, name: str, kind: str) -> Site:
    """Return a site as a summary would tell it."""
    domain = f"{name}.example.test"
    return Site(name, kind, domain, f"https://{domain}", machine.summary.ssh.host, 443)


@pytest.fixture(scope="session")
def given() -> dict[str, Any]:
    """Return what the role was told."""
    variables: dict[str, Any] = load(ROOT / "molecule/shared/vars" / f"{ROLE}.yml")
    return variables
