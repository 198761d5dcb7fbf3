"""The networks of the stack, by the module as it runs on a host, with a stand-in for Docker."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit import running

# Answers as Docker's program does of the networks in a file, and notes what else it is told.
DOCKER = """\
import json, sys
from pathlib import Path
here = Path(__file__).parent
networks = json.loads((here / "networks.json").read_text())
arguments = sys.argv[1:]
if arguments[:2] == ["network", "ls"]:
    print("\\n".join(one["Name"] for one in networks))
elif arguments[:2] == ["network", "inspect"]:
    print(json.dumps([one for one in networks if one["Name"] in arguments]))
else:
    with (here / "log").open("a") as file:
        file.write(" ".join(arguments) + "\\n")
"""


def network(name: str, subnet: str, *, internal: bool = False, ipv6: bool = False) -> dict[str, Any]:
    """Return a network as the Engine shows it."""
    return {"Name": name, "Internal": internal, "EnableIPv6": ipv6, "IPAM": {"Config": [{"Subnet": subnet}]}}


class Host:
    """A folder that stands for a host with two networks of the stack and one of somebody else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        networks = [
            network("slipway_frontend", "172.18.0.0/16"),
            network("slipway_backend", "172.19.0.0/16", internal=True),
            network("another", "172.20.0.0/16"),
        ]
        (folder / "networks.json").write_text(json.dumps(networks))
        (folder / "docker.py").write_text(DOCKER)
        (folder / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/docker.py "$@"\n')
        (folder / "docker").chmod(0o755)

    def run(self, *, check: bool = False, **backend: Any) -> tuple[dict[str, Any], list[str]]:
        """Run the module with these settings of the internal network; return its result and what was called."""
        (self.folder / "log").write_text("")
        plain = {"internal": False, "ipv6": False, "subnets": []}
        docker = str(self.folder / "docker")
        given = {
            "dir": str(self.folder),
            "project": "slipway",
            "networks": {"frontend": plain, "backend": {**plain, "internal": True, **backend}},
            "host": "vm1",
            "docker": docker,
            "start": f"{docker} compose up",
            "_ansible_check_mode": check,
            "_ansible_diff": True,
        }
        result: dict[str, Any] = json.loads(running.module("stack_project", given))
        return result, (self.folder / "log").read_text().splitlines()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_networks_that_are_as_wanted_are_left_alone(host: Host) -> None:
    result, calls = host.run(subnets=["172.19.0.0/16"])
    assert not result["changed"]
    assert calls == []


@pytest.mark.parametrize("wanted", [{"subnets": ["10.99.2.0/24"]}, {"ipv6": True}])
def test_another_network_takes_the_whole_stack_down_and_up_once(host: Host, wanted: dict[str, Any]) -> None:
    result, calls = host.run(**wanted)
    assert result["recreated"] == ["backend"]
    assert calls == [f"compose --project-directory {host.folder} down", "compose up"]


def test_in_check_mode_it_is_said_and_nothing_goes(host: Host) -> None:
    result, calls = host.run(check=True, subnets=["10.99.2.0/24"])
    assert result["changed"]
    assert [one["before_header"] for one in result["diff"]] == ["network backend"]
    assert calls == []


def test_a_subnet_that_is_taken_is_refused_while_all_still_runs(host: Host) -> None:
    result, calls = host.run(subnets=["172.20.3.0/24"])
    assert result["failed"]
    assert "another" in result["msg"]
    assert "vm1" in result["msg"]
    assert calls == []
