"""When the action guarded_change keeps a change and when it is undone, with the real module, files and clock.

Only what the action has of Ansible is stood in for: a connection that can be cut, and an installation of packages.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from plugins.action import guarded_change as action
from plugins.modules import guarded_change as module
from tests.unit.test_guard import wait_for
from tests.unit.test_module_guarded_change import Module, file

GUARD = vars(module)["Guard"]
FAULT = vars(module)["GuardError"]


class Connection:
    """A connection by which the host is reached, until a file says that it isn't any more."""

    def __init__(self, transport: str, cut: Path) -> None:
        """Take what the connection is called, and the file."""
        self.transport, self.cut, self.resets = transport, cut, 0
        self._shell = SimpleNamespace(tmpdir=None)

    def reset(self) -> None:
        """Open it again."""
        self.resets += 1
        if self.cut.exists():
            raise AnsibleConnectionFailure("Connection refused")

    def exec_command(self, command: str, sudoable: bool) -> tuple[int, bytes, bytes]:
        """Run the one command that is ever run."""
        assert (command, sudoable) == ("true", False)
        if self.cut.exists():
            raise AnsibleConnectionFailure("Connection refused")
        return 0, b"", b""


class Action(action.ActionModule):
    """The action, whose module runs here."""

    folder: Path
    # Whether the connection of the run outlives its being cut for others, as a shared one does.
    shared = True

    def _execute_module(self, _: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert task_vars["inventory_hostname"] == "vm1"
        if self._connection.cut.exists() and not self.shared:
            raise AnsibleConnectionFailure("Connection refused")
        one: Any = Module(**arguments)
        try:
            return module.answer(one, GUARD("probe", self.folder / "guard"))
        except FAULT as fault:
            return {"failed": True, "msg": str(fault)}

    def _other(self, variables: dict[str, Any]) -> Any:  # noqa: ARG002 - as the action has it
        return self._connection


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Try for a moment alone, and have a process of its own be the clock."""
    monkeypatch.setattr(action, "_ALL", 1)
    monkeypatch.setitem(GUARD.begin.__globals__, "_SYSTEMD", tmp_path / "none")


def made(tmp_path: Path, transport: str, **arguments: Any) -> Action:
    """Return an action whose change is one file."""
    task = SimpleNamespace(async_val=0, check_mode=False, action="guarded_change")
    base = {"files": [file(tmp_path / "file")], "apply": "true", "undo": "true", "name": "probe", "seconds": 60}
    task.args = {**base, **arguments}

    context = SimpleNamespace(check_mode=False, diff=False)
    one = Action(task, Connection(transport, tmp_path / "cut"), context, None, None, None)
    one.folder = tmp_path
    return one


def run(one: Action) -> dict[str, Any]:
    return one.run(task_vars={"inventory_hostname": "vm1"})


@pytest.mark.parametrize("transport", ["ssh", "mitogen_ssh", "ansible.netcommon.libssh", "local"])
def test_a_change_after_which_one_gets_in_is_kept(tmp_path: Path, transport: str) -> None:
    one = made(tmp_path, transport)
    done = run(one)
    assert (done["changed"], "failed" in done) == (True, False)
    assert not GUARD("probe", tmp_path / "guard").armed
    assert one._connection.resets == (1 if "libssh" in transport else 0)
    assert not run(made(tmp_path, transport))["changed"]


@pytest.mark.parametrize("transport", ["ssh", "ansible.netcommon.libssh"])
def test_a_change_after_which_nobody_gets_in_is_undone_by_the_run(tmp_path: Path, transport: str) -> None:
    cut = tmp_path / "cut"
    done = run(made(tmp_path, transport, apply=f"touch {cut}", undo=f"rm {cut}"))
    assert done["failed"]
    assert done["msg"] == (
        f"vm1: probe: after the change a new connection by {transport} fails (Connection refused); "
        "what was before is in force again"
    )
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("transport", ["ssh", "ansible.netcommon.libssh"])
def test_a_change_that_cuts_the_run_is_undone_by_the_host(tmp_path: Path, transport: str) -> None:
    cut, undone = tmp_path / "cut", tmp_path / "undone"
    one = made(tmp_path, transport, apply=f"touch {cut}", undo=f"rm {cut}; echo >{undone}", seconds=1)
    one.shared = False
    done = run(one)
    assert "the host restores what was before within 1 seconds" in done["msg"]
    wait_for(undone, "\n")
    assert not (tmp_path / "file").exists()


def test_a_change_that_was_undone_meanwhile_is_not_taken_for_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(tmp_path, "ssh")
    # The clock was faster than the new connection.
    monkeypatch.setattr(one, "_new", lambda _: GUARD("probe", tmp_path / "guard").undo() or one._connection)
    done = run(one)
    assert done["msg"] == "vm1: probe: probe: too late, what was before is restored already"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("transport", ["local", "community.docker.docker", "community.general.libvirt_lxc"])
def test_what_comes_by_no_network_is_not_tried(tmp_path: Path, transport: str) -> None:
    cut = tmp_path / "cut"
    done = run(made(tmp_path, transport, apply=f"touch {cut}"))
    assert "failed" not in done
    assert (tmp_path / "file").exists()


def test_a_package_that_is_missing_is_installed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nft"
    given = {"requires": [{"program": str(program), "package": "firewall"}], "apply": f"test -e {program}"}
    installed: list[dict[str, Any]] = []

    def install(_: Any, name: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
        installed.append({name: arguments})
        if len(installed) == 1:
            return {"failed": True, "msg": "no such package"}
        program.touch()
        return {"changed": True}

    monkeypatch.setattr(action, "run_other", install)
    done = run(made(tmp_path, "ssh", **given))
    assert (done["failed"], done["msg"]) == (True, "no such package")
    assert not (tmp_path / "file").exists()
    assert run(made(tmp_path, "ssh", **given))["changed"]
    assert (tmp_path / "file").exists()
    assert installed == [{"ansible.builtin.package": {"name": ["firewall"], "state": "present"}}] * 2
