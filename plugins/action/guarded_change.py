"""Action guarded_change: renders templates here, has the module of this name make the change, and tries to get in."""

from __future__ import annotations

import re
import time
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible.utils.display import Display
from ansible_collections.slipway.stack.plugins.plugin_utils.actions import rendered, run_other

# By its full name, by which Mitogen finds what it imports, too.
_MODULE = "slipway.stack.guarded_change"
_SSH = ("ssh", "mitogen_ssh")
# Connections that come by no network of the host, by the last word of their names: to them nothing is ever closed.
_INSIDE = re.compile(
    r"(.*[._])?(local|chroot|nsenter|setns|machinectl|docker|docker_api|podman|buildah|kubectl|jail|lxc|lxd|incus)"
)
# For Ansible's own way by ssh the first value of an option counts. A connection that is shared would hide a lock-out.
_NEW = "-o ControlMaster=no -o ControlPath=none"
# Seconds for one attempt, and for all: less than the rollback waits.
_ATTEMPT, _ALL = 8, 25


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Makes a change, and keeps it where a new connection gets in."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result, or that nobody got in."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        inside = bool(_INSIDE.fullmatch(self._connection.transport))
        files = [rendered(self, file, variables) for file in self._task.args.get("files") or []]
        given = {**self._task.args, "files": files}
        if inside:
            given["seconds"] = 0
        done = self._module("change", given, variables)
        if done.get("missing"):
            wanted = {"name": done["missing"], "state": "present"}
            installed = run_other(self, "ansible.builtin.package", wanted, variables)
            if installed.get("failed"):
                return {**result, **installed}
            # In check mode they are still missing.
            done = {**self._module("change", {**given, "requires": []}, variables), "missing": []}
        if done.get("armed"):
            fault = self._lock_out(inside, variables)
            if why := self._restored(fault, given, variables) if fault else self._kept(done["what"], given, variables):
                return {**result, "failed": True, "msg": f"{variables['inventory_hostname']}: {given['name']}: {why}"}
        shown = {key: value for key, value in done.items() if key not in ("what", "armed", "missing", "invocation")}
        return {**result, **shown}

    def _kept(self, what: str, given: dict[str, Any], variables: dict[str, Any]) -> str:
        """Disarm the rollback; return why it can't be, or nothing."""
        done = self._module("keep", {**given, "what": what}, variables)
        return str(done["msg"]) if done.get("failed") else ""

    def _restored(self, fault: str, given: dict[str, Any], variables: dict[str, Any]) -> str:
        """Have the host restore what was before; return what has become of the change."""
        try:
            done = self._module("undo", given, variables)
        except AnsibleError:
            return f"{fault}; the host restores what was before within {given.get('seconds', 60)} seconds"
        return f"{fault}; {done['msg'] if done.get('failed') else 'what was before is in force again'}"

    def _module(self, phase: str, given: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = self._execute_module(_MODULE, {**given, "phase": phase}, task_vars=variables)
        return done

    def _lock_out(self, inside: bool, variables: dict[str, Any]) -> str:
        """Return why no new connection gets in, or nothing where one does."""
        kind = self._connection.transport.removeprefix("mitogen_")
        if inside:
            host = variables["inventory_hostname"]
            Display().display(f"{host}: connected by {kind}, so it isn't tried whether one still gets in by ssh")
            return ""
        end = time.monotonic() + _ALL
        while True:
            began = time.monotonic()
            try:
                code, _, error = self._new(variables).exec_command("true", sudoable=False)
                fault = f"exit status {code}: {error.decode(errors='replace')}" if code else ""
            except AnsibleError as failed:
                fault = str(failed)
            if not fault or time.monotonic() + _ATTEMPT > end:
                said = " ".join(fault.split())
                return f"after the change a new connection by {kind} fails ({said})" if said else ""
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))

    def _new(self, variables: dict[str, Any]) -> Any:
        """Return a connection that is made anew. Raises AnsibleError."""
        if self._connection.transport in _SSH:
            return self._other(variables)
        # Nobody knows what else it shares, so it is the run's own that is closed and opened.
        self._connection.reset()
        return self._connection

    def _other(self, variables: dict[str, Any]) -> Any:
        """Return a connection of Ansible's own by ssh, with all that the inventory says of it, that shares none."""
        # By its full name: the short one is Mitogen's in a run of its strategy.
        other = connection_loader.get("ansible.builtin.ssh", self._play_context)
        keys = {**self._task.dump_attrs(), "timeout": _ATTEMPT}
        del keys["retries"]
        if self._play_context.password:
            keys["password"] = self._play_context.password
        other.set_options(task_keys=keys, var_options=other._resolve_option_variables(variables, self._templar))
        other.set_option("ssh_args", f"{_NEW} {other.get_option('ssh_args')}")
        other.set_option("reconnection_retries", 0)
        other.set_option("timeout", _ATTEMPT)
        return other
