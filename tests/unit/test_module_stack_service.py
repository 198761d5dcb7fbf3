"""A service of the stack, run as the module on this machine, with a stand-in for Docker that starts what it is told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.action.stack_service import arguments
from tests.unit import running

ME = {"owner": str(os.geteuid()), "group": str(os.getegid())}
SECRET = "correct-horse-battery-staple"
CHANGED = {"files": [{"dest": "web.conf", "content": "two\n", **ME}]}
# Answers as Docker's program does: what runs is a file, and `compose up` has there what the Compose files say.
DOCKER = """\
import json, sys, uuid
from pathlib import Path
import yaml
here = Path(__file__).parent
ps, log = here / "ps.json", here / "log"
present = json.loads(ps.read_text()) if ps.exists() else []
arguments = sys.argv[1:]
if arguments[0] == "ps":
    for one in present:
        print("\\t".join(one))
    sys.exit(0)
arguments = [one for one in arguments if not one.startswith("--file=")]
verb = next(one for one in arguments if one in ("up", "run", "rm"))
with log.open("a") as file:
    file.write(" ".join(arguments[arguments.index(verb):]) + "\\n")
if (here / f"fails-{verb}").exists():
    print("it can't", file=sys.stderr)
    sys.exit(1)
files = [yaml.safe_load(path.read_text()) for path in (here / "stack/compose.d").glob("*.yml")]
wanted = {name: service for file in files for name, service in (file.get("services") or {}).items()}
if verb == "up":
    kept = {one[0]: one for one in present if one[0] in wanted and one[6] == "running"}
    for name, service in wanted.items():
        label, image = service["labels"]["slipway.content"], service["image"]
        if name not in kept or kept[name][2:4] != [label, "config"]:
            kept[name] = [name, "False", label, "config", uuid.uuid4().hex, image, "running", "Up", "slipway_backend"]
    present = list(kept.values())
if verb == "rm":
    present = [one for one in present if one[0] not in arguments]
ps.write_text(json.dumps(present))
"""


class Host:
    """A folder that stands for a host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = folder / "stack"
        self.ps = folder / "ps.json"
        (self.stack / "compose.d").mkdir(parents=True)
        (self.stack / "secrets").mkdir()
        (folder / "docker.py").write_text(DOCKER)
        (folder / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/docker.py "$@"\n')
        (folder / "docker").chmod(0o755)

    def declaration(self, **changes: Any) -> dict[str, Any]:
        return {
            "name": "web",
            "dockerfile": "FROM x\n",
            "files": [{"dest": "web.conf", "content": "one\n", **ME}],
            "secrets": [{"name": "web_key", "content": SECRET, "owner": os.geteuid()}],
            "secrets_pruned": ["web_*"],
            "volumes": [{"name": "data", "owner": os.geteuid()}],
            "services": {"a": {"networks": ["backend"], "secrets": ["web_key"]}, "b": {"networks": ["backend"]}},
            **changes,
        }

    def run(
        self, changes: dict[str, Any] | None = None, *, check: bool = False, state: str = "present"
    ) -> dict[str, Any]:
        """Run the module; return its result with what it called (``calls``)."""
        (self.folder / "log").write_text("")
        given: dict[str, Any] = {"dir": str(self.stack), "project": "slipway", "docker": str(self.folder / "docker")}
        if state == "present":
            given |= {"volumes_dir": str(self.folder / "volumes"), "registry": "slipway.invalid", "base": "base"}
            given = arguments(given, self.declaration(**(changes or {})))
            given["folders"] = [{**one, **ME} for one in given["folders"]]
            given["files"] = [{**one, **ME} for one in given["files"]]
            given["secrets"] = [{**one, **ME} for one in given["secrets"]]
        else:
            given |= {"state": "absent", "name": "web"}
        said = running.module("stack_service", {**given, "_ansible_check_mode": check, "_ansible_diff": True})
        assert SECRET not in said
        result: dict[str, Any] = json.loads(said)
        result["calls"] = [line.split()[0] for line in (self.folder / "log").read_text().splitlines()]
        return result

    def file(self) -> Any:
        return yaml.safe_load((self.stack / "compose.d/web.yml").read_text())

    def alter(self, name: str, **fields: Any) -> None:
        """Change what runs; ``gone=True`` removes a container."""
        order = ["service", "oneoff", "label", "config", "number", "image", "state", "status", "networks"]
        present = json.loads(self.ps.read_text())
        for one in present:
            if one[0] == name:
                for field, value in fields.items():
                    if field != "gone":
                        one[order.index(field)] = value
        self.ps.write_text(json.dumps([one for one in present if one[0] != name or "gone" not in fields]))

    def tree(self) -> dict[str, int]:
        return {str(path): path.lstat().st_mtime_ns for path in self.folder.rglob("*") if path.name != "log"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_second_time_compose_is_not_called(host: Host) -> None:
    first = host.run()
    assert (first["changed"], first["started"], first["calls"]) == (True, True, ["up"])
    assert (host.stack / ".env").read_text() == "COMPOSE_FILE=compose.yml:compose.d/web.yml\n"
    assert (host.stack / "secrets/web_key").read_text() == SECRET
    assert (host.stack / "secrets/web_key").stat().st_mode & 0o777 == 0o400
    before = host.tree()
    second = host.run()
    assert (second["changed"], second["started"], second["pending"], second["calls"]) == (False, False, False, [])
    assert host.tree() == before


@pytest.mark.parametrize(
    "fault",
    [
        {"state": "exited"},
        {"gone": True},
        {"config": "of other files"},
        {"image": "sha256:0123"},
    ],
)
def test_a_container_that_was_stopped_removed_or_replaced_is_put_right(host: Host, fault: dict[str, Any]) -> None:
    host.run()
    host.alter("b", **fault)
    checked = host.run(check=True)
    assert (checked["changed"], checked["pending"], checked["calls"]) == (True, True, [])
    done = host.run()
    assert done["calls"] == ["up"]
    assert host.run()["calls"] == [] or "image" in fault


def test_a_changed_file_recreates_and_so_does_one_that_was_put_right(host: Host) -> None:
    host.run()
    assert host.run(CHANGED)["started"]
    (host.stack / "web/web.conf").write_text("by hand\n")
    done = host.run(CHANGED)
    assert (done["started"], done["calls"]) == (True, ["up"])


def test_a_run_that_was_cut_before_compose_is_ended_by_the_next(host: Host) -> None:
    host.run()
    (host.folder / "fails-up").touch()
    failed = host.run(CHANGED)
    assert failed["failed"]
    assert "docker compose up (web) failed with 1:\nit can't" in failed["msg"]
    (host.folder / "fails-up").unlink()
    assert host.run(CHANGED)["started"]
    assert host.run(CHANGED)["calls"] == []


def test_orphans_and_what_a_declaration_names_no_more_go(host: Host) -> None:
    less = {"secrets": [], "files": [], "services": {"b": {"networks": ["backend"]}}}
    host.run()
    (host.stack / "secrets/other").write_text("of another service")
    host.run(less)
    assert [one[0] for one in json.loads(host.ps.read_text())] == ["b"]
    assert [path.name for path in (host.stack / "secrets").iterdir()] == ["other"]
    assert not (host.stack / "web/web.conf").exists()
    # A container of no Compose file: it was declared once.
    present = json.loads(host.ps.read_text())
    host.ps.write_text(json.dumps([*present, ["gone", *present[0][1:4], "7", *present[0][5:]]]))
    assert host.run(less)["changed"]
    assert [one[0] for one in json.loads(host.ps.read_text())] == ["b"]


def test_what_replaces_a_container_that_serves_is_checked_first(host: Host) -> None:
    assert host.run()["calls"] == ["up"]
    changed = {"check": "web -t", **CHANGED}
    (host.folder / "fails-run").touch()
    assert host.run(changed)["failed"]
    (host.folder / "fails-run").unlink()
    assert host.run(changed)["calls"] == ["run", "up"]


def test_check_mode_writes_nothing_and_shows_no_secret(host: Host) -> None:
    before = host.tree()
    result = host.run(check=True)
    assert (result["changed"], result["pending"], result["calls"]) == (True, True, [])
    assert host.tree() == before
    shown = [one["after_header"] for one in result["diff"] if "after_header" in one]
    assert str(host.stack / "secrets/web_key") in shown
    # On a bare host there is no Docker to ask.
    (host.folder / "docker").unlink()
    assert host.run(check=True)["pending"]
    assert "there is no" in host.run()["msg"]


def test_a_volume_stays_named_while_it_has_data_or_is_mounted(host: Host) -> None:
    """Compose refuses a file that mounts what no file names, and what has no data any more is nobody's."""
    memory = {"name": "memory", "driver_opts": {"type": "tmpfs", "device": "tmpfs"}}
    host.run({"volumes": [*host.declaration()["volumes"], memory]})
    less = {"volumes": [{"name": "more", "owner": os.geteuid()}]}
    for _ in range(2):
        host.run(less)
        assert host.file()["volumes"].keys() == {"data", "memory", "more"}
    other = host.stack / "compose.d/other.yml"
    other.write_text("services:\n  c:\n    volumes: [{type: volume, source: data, target: /data}]\n")
    (host.folder / "volumes/data").rmdir()
    host.run({**less, **CHANGED})
    assert "data" in host.file()["volumes"]
    other.unlink()
    # By itself that is no reason to write the file.
    host.run({**less, **CHANGED})
    assert not host.run({**less, **CHANGED})["changed"]
    assert "data" in host.file()["volumes"]
    host.run(less)
    assert host.file()["volumes"].keys() == {"more"}


def test_a_service_that_is_gone_leaves_its_volumes_alone(host: Host) -> None:
    host.run()
    checked = host.run(state="absent", check=True)
    assert (checked["changed"], checked["calls"]) == (True, [])
    assert (host.stack / "web/web.conf").exists()
    (host.folder / "fails-rm").touch()
    assert host.run(state="absent")["failed"]
    (host.folder / "fails-rm").unlink()
    assert host.run(state="absent")["calls"] == ["rm"]
    assert host.file().keys() == {"volumes"}
    assert not (host.stack / "web").exists()
    assert list((host.stack / "secrets").iterdir()) == []
    assert json.loads(host.ps.read_text()) == []
    again = host.run(state="absent")
    assert (again["changed"], again["calls"]) == (False, [])


def test_nothing_is_left_of_a_service_without_volumes(host: Host) -> None:
    host.run({"volumes": []})
    host.run(state="absent")
    assert not (host.stack / "compose.d/web.yml").exists()
    assert (host.stack / ".env").read_text() == "COMPOSE_FILE=compose.yml\n"
    assert not host.run(state="absent")["changed"]
