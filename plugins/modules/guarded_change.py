#!/usr/bin/python
"""Module guarded_change: changes files and what is in force by them, and undoes that unless it is kept in time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.stack.plugins.module_utils.guard import Guard, GuardError, digest
from ansible_collections.slipway.stack.plugins.module_utils.managed import differing, write
from ansible_collections.slipway.stack.plugins.module_utils.service_files import read
from ansible_collections.slipway.stack.plugins.module_utils.service_processes import one_line

DOCUMENTATION = r"""
module: guarded_change
short_description: Changes what a host is reached by, and undoes it where the host is out of reach then
description:
  - Writes files as M(managed_files) does, and has the commands of O(apply) bring them into force. Before that it keeps
    what was there, and arms a rollback on the host. Then the action of this name opens a new connection from the
    controller, past those that are shared, as Ansible's own would be opened; only where that succeeds the rollback is
    disarmed. So a change that locks everybody out is undone by itself, also when the controller is gone.
  - With another connection by the network it is that one which is closed and opened again. With C(local) and those of
    containers no new one would tell anything, so none is tried and no rollback is armed. Others who log in by ssh may
    be locked out then.
  - Files that are in place count as in force when O(same) says so and the change was kept the last time.
  - A power cut before the rollback leaves the new files. O(files) that are read at boot go by that.
options:
  name:
    description: Name of the change, as a file may have it.
    type: str
    required: true
  requires:
    description: Programs without which nothing is changed, each with C(program), its path, and C(package).
    type: list
    elements: dict
    default: []
  folders:
    description: Folders, as M(managed_files) takes them.
    type: list
    elements: dict
    default: []
  files:
    description: Files, as M(managed_files) takes them, templates too.
    type: list
    elements: dict
    default: []
  absent:
    description: Files that go away.
    type: list
    elements: str
    default: []
  first_lines:
    description: >-
      Lines that other files must have, each with C(path), C(line) and C(pattern), a regular expression that a line
      matches which does as well. A line that is missing becomes the first one.
    type: list
    elements: dict
    default: []
  same:
    description: Shell line that succeeds where what is in force is what the files say.
    type: str
    default: 'true'
  save:
    description: Shell line that keeps what is in force in the folder C($GUARD).
    type: str
    default: 'true'
  apply:
    description: Shell line that brings the files into force.
    type: str
    required: true
  undo:
    description: Shell line that brings into force what was before, when the files are those of before again.
    type: str
    required: true
  seconds:
    description: After how many seconds the rollback runs.
    type: int
    default: 60
  phase:
    description: What the action has the module do; tasks leave it out.
    type: str
    default: change
    choices: [change, keep, undo]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Configure sshd
  guarded_change:
    name: sshd
    files: [{path: /etc/ssh/sshd_config.d/00-own.conf, content: "X11Forwarding no\n", mode: '0600'}]
    apply: sshd -t && systemctl reload ssh
    undo: systemctl reload ssh
"""

RETURN = r"""
armed:
  description: Whether the rollback is armed.
  type: bool
  returned: success
missing:
  description: Packages that are to be installed before.
  type: list
  elements: str
  returned: success
"""

_SHELL = ("same", "save", "apply", "undo")


def with_first_line(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the file that lacks a line as it is to be, or nothing where it has one that does as well."""
    path = Path(one["path"])
    text = read(path)
    if re.search(one["pattern"], text, re.MULTILINE):
        return []
    mode = f"{path.stat().st_mode & 0o7777:04o}" if path.exists() else "0644"
    return [{"path": str(path), "content": f"{one['line']}\n{text}", "mode": mode}]


def change(module: AnsibleModule, guard: Guard) -> dict[str, Any]:
    """Make the change, if there is one; return the result. Raises GuardError or OSError."""
    params = module.params
    if guard.armed and not module.check_mode:
        # Of a run that was cut: what was before it is what it would be undone to.
        guard.undo()
    files = [*params["files"], *(file for one in params["first_lines"] for file in with_first_line(one))]
    found = differing(module, params["folders"], files, params["absent"])
    what = digest([repr(params[key]) for key in ("files", "first_lines")])
    # What only goes away was in force without being kept.
    in_force = guard.kept(what) or not params["files"]
    if not found and in_force and guard.shell(params["same"])[0] == 0:
        return {"changed": False, "armed": False}
    diffs = [difference for _, difference in found] or [{"prepared": f"{params['name']}: bring into force\n"}]
    result: dict[str, Any] = {"changed": True, "armed": False, "what": what}
    if module._diff:
        result["diff"] = diffs
    if module.check_mode:
        return result
    guard.begin([one.path for one, _ in found], params["save"], params["undo"], params["seconds"])
    try:
        write(found)
        code, out = guard.shell(params["apply"])
        fault = f"{params['name']}: not changed, since it can't be brought into force: {one_line(out)}" if code else ""
    except OSError as error:
        fault = f"{params['name']}: not changed: {error}"
    if fault:
        try:
            guard.undo()
        except GuardError as error:
            fault = f"{fault}; {error}"
        raise GuardError(fault)
    return {**result, "armed": True}


def answer(module: AnsibleModule, guard: Guard) -> dict[str, Any]:
    """Do what the action asks for; return the result. Raises GuardError or OSError."""
    params = module.params
    missing = sorted({one["package"] for one in params["requires"] if not Path(one["program"]).exists()})
    result: dict[str, Any] = {"changed": True, "armed": False, "missing": []}
    if missing:
        return {"changed": False, "armed": False, "missing": missing}
    if params["phase"] == "change":
        return {**result, **change(module, guard)}
    if params["phase"] == "keep":
        guard.keep(params["what"])
    else:
        guard.undo()
    return result


def main() -> None:
    """Run the module."""
    items = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "requires": items,
            "folders": items,
            "files": items,
            "absent": {"type": "list", "elements": "str", "default": []},
            "first_lines": items,
            "same": {"type": "str", "default": "true"},
            "save": {"type": "str", "default": "true"},
            "apply": {"type": "str", "required": True},
            "undo": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 60},
            "phase": {"type": "str", "default": "change", "choices": ["change", "keep", "undo"]},
            "what": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    guard = Guard(module.params["name"])
    try:
        result = answer(module, guard)
    except (GuardError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
