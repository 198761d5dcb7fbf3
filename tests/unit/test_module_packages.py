"""Packages are looked up without their manager, which is called only where something is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from plugins.modules.packages import automatic, installed
from tests.unit.running import playbook


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="compares with dpkg, which this machine lacks")
def test_dpkg_says_the_same() -> None:
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert installed(Path("/")) == {line.split()[0] for line in listed if line.endswith(" installed")}


@pytest.mark.skipif(shutil.which("apt-mark") is None, reason="compares with apt, which this machine lacks")
def test_apt_says_the_same() -> None:
    listed = subprocess.run(["apt-mark", "showauto"], capture_output=True, text=True, check=True).stdout.split()
    assert installed(Path("/")) & automatic(Path("/")) == {name.partition(":")[0] for name in listed}


def test_a_package_that_is_not_configured_is_missing(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "\n".join(
            f"Package: {name}\nStatus: {status}\nDescription: one\n Package: indented\n"
            for name, status in {
                "there": "install ok installed",
                "held": "hold ok installed",
                "cut": "install ok half-configured",
                "unpacked": "install ok unpacked",
                "gone": "deinstall ok config-files",
                "broken": "install reinstreq installed",
            }.items()
        )
    )
    assert installed(tmp_path) == {"there", "held"}


@pytest.mark.parametrize("folder", ["lib/apk/db", "usr/lib/apk/db"])
def test_alpine_has_its_packages_elsewhere(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "installed").write_text("C:Q1=\nP:nginx\nV:1.28.0-r3\np:so:x\n\nC:Q1=\nP:musl\nV:1\n")
    assert installed(tmp_path) == {"nginx", "musl"}
    assert automatic(tmp_path) == set()


@pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="needs a machine with dpkg's database")
def test_the_manager_is_asked_only_where_something_is_missing(tmp_path: Path) -> None:
    there = sorted(installed(Path("/")) - automatic(Path("/")))[:2]
    tasks = [
        {"packages": {"names": there}, "register": "quiet"},
        {"packages": {"names": [*there, "slipway-none"], "install": False}, "register": "looked"},
        {"packages": {"names": [*there, "slipway-none"]}, "register": "asked", "ignore_errors": True},
        # What was there a task ago is not looked at again, and all else is.
        {"packages": {"names": [*there, "slipway-none"], "install": False, "remember": True}},
        {"packages": {"names": there[:1]}, "vars": {"ansible_python_interpreter": "/bin/false"}, "register": "known"},
        {"packages": {"names": ["slipway-none"], "install": False}, "register": "again"},
        # In check mode the manager isn't asked to remove anything either.
        {"packages": {"names": ["slipway-none"], "state": "absent"}, "register": "gone"},
        {"packages": {"names": there, "state": "absent"}, "register": "removed"},
        {
            "ansible.builtin.copy": {
                "content": "{{ [quiet, looked, asked, known, again, gone, removed] | to_json }}",
                "dest": str(tmp_path / "said.json"),
            },
            "check_mode": False,
        },
    ]
    # There is no such manager, so asking it fails.
    facts = {"pkg_mgr": "slipway_none"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_facts": facts},
        "tasks": tasks,
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    playbook(tmp_path, "--check")
    quiet, looked, asked, known, again, gone, removed = json.loads((tmp_path / "said.json").read_text())
    assert not quiet["changed"]
    assert quiet["missing"] == []
    assert not looked["changed"]
    assert looked["missing"] == ["slipway-none"]
    assert asked["failed"]
    assert "slipway_none" in asked["msg"]
    assert known["missing"] == []
    assert again["missing"] == ["slipway-none"]
    assert not gone["changed"]
    assert removed["changed"]
