#!/usr/bin/python
"""Ansible module: bring a host's services into their state, with all their files, under systemd and OpenRC alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.stack.plugins.module_utils import service_admit as admit
from ansible_collections.slipway.stack.plugins.module_utils import service_openrc as openrc
from ansible_collections.slipway.stack.plugins.module_utils import service_systemd as systemd
from ansible_collections.slipway.stack.plugins.module_utils.service_files import Changes, Wanted
from ansible_collections.slipway.stack.plugins.module_utils.service_manager import Service, ServiceError, bring_up

DOCUMENTATION = r"""
module: service_unit_state
short_description: Brings services into their state, with all their files
description:
  - Called by the action M(service_units), which renders the files and knows what each manager needs.
  - Removes what goes away, writes the files, and has the manager read them. Then starts what is stopped, repairs what
    OpenRC calls crashed or unsupervised, and restarts what runs by an older definition than the one on disk, also
    after a run that was cut before it could. Where all of this is so already, it changes nothing.
  - Then it waits until the main process lives and one of the service's own processes listens, or a command succeeds.
    OpenRC's start returns 0 for a daemon that died, so its word is no proof.
  - A service that fails doesn't keep the others down; the task fails at the end and names all of them.
options:
  manager: {type: str, required: true, choices: [systemd, openrc], description: The service manager.}
  requires:
    type: list
    elements: dict
    default: []
    description: Programs without which nothing is changed; what isn't there is returned as C(missing).
    options:
      program: {type: path, required: true, description: Path of the program.}
      package: {type: str, required: true, description: The package that has it.}
  mark: {type: str, required: true, description: What the first comment of each file of ours says.}
  folders:
    type: list
    elements: dict
    default: []
    description: Folders, each with C(path) and C(mode); root's.
  files:
    type: list
    elements: dict
    default: []
    description: Files, each with C(path), C(mode) and C(content). With C(marker) that is a block of the file.
  units:
    type: dict
    default: {}
    description: The units that are declared, and whether each has a timer.
  absent: {type: list, elements: str, default: [], description: Services that go away.}
  prune:
    type: list
    elements: str
    default: []
    description: Patterns of units of ours that go away unless they are declared.
  services:
    type: list
    elements: dict
    default: []
    description: What is to run, in this order.
    options:
      name: {type: str, required: true, description: Name of the service.}
      kind:
        type: str
        default: service
        choices: [service, oneshot, timer]
        description: What it is; only a service is restarted when its files changed, and only it has a main process.
      files:
        type: list
        elements: path
        default: []
        description: What it reads at start only. Changed since then, it is restarted.
      supervised: {type: bool, default: false, description: OpenRC only; refuse it without supervise-daemon.}
      readiness:
        type: dict
        default: {}
        description: What shows that it is ready.
        options:
          port: {type: int, description: TCP port that it listens on.}
          socket: {type: path, description: Unix socket that it listens on.}
          command: {type: str, description: What succeeds once it is ready.}
          timeout: {type: int, default: 30, description: Seconds.}
      start_timeout: {type: int, default: 90, description: Seconds that a start, a restart or a stop may take.}
      log: {type: str, default: '', description: 'Its log file, for the message of a failure; systemd has the journal.'}
      early: {type: bool, default: false, description: Whether it starts before the network comes up.}
  admit:
    type: dict
    required: true
    description: Who reaches services.
    options:
      folder: {type: path, required: true, description: Where the tables lie.}
      closed: {type: list, elements: str, default: [], description: Services that have a table there.}
      open: {type: list, elements: str, default: [], description: Services that have none any more.}
  openrc:
    type: dict
    description: What only OpenRC has to be told.
    options:
      replaced: {type: list, elements: str, default: [], description: Services whose script is replaced by one of ours.}
      kept: {type: list, elements: str, default: [], description: Services that keep their script.}
      diverts: {type: bool, required: true, description: Whether dpkg keeps the distribution's scripts aside.}
      aside: {type: path, required: true, description: Where the distribution's scripts are kept.}
      jobs: {type: path, required: true, description: Where the jobs lie that cron runs.}
      cron_folder: {type: str, default: '', description: Folder with a file for each job.}
      cron_table: {type: str, default: '', description: Table with lines for each job.}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Run the web server
  service_unit_state:
    manager: systemd
    mark: Written by Slipway; changes are overwritten.
    files: [{path: /etc/systemd/system/nginx.service.d/slipway.conf, mode: '0644', content: "[Service]\n"}]
    services: [{name: nginx, readiness: {port: 443}}]
    admit: {folder: /etc/slipway/admit}
"""

RETURN = r"""
actions: {type: list, elements: str, returned: always, description: What was done, or would be.}
missing: {type: list, elements: str, returned: always, description: Packages that are to be installed before.}
"""

SPEC: dict[str, Any] = {
    "manager": {"type": "str", "required": True, "choices": ["systemd", "openrc"]},
    "requires": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"program": {"type": "path", "required": True}, "package": {"type": "str", "required": True}},
    },
    "mark": {"type": "str", "required": True},
    "folders": {"type": "list", "elements": "dict", "default": []},
    "files": {"type": "list", "elements": "dict", "default": []},
    "units": {"type": "dict", "default": {}},
    "absent": {"type": "list", "elements": "str", "default": []},
    "prune": {"type": "list", "elements": "str", "default": []},
    "services": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "kind": {"type": "str", "default": "service", "choices": ["service", "oneshot", "timer"]},
            "files": {"type": "list", "elements": "path", "default": []},
            "supervised": {"type": "bool", "default": False},
            "readiness": {
                "type": "dict",
                "default": {},
                "options": {
                    "port": {"type": "int"},
                    "socket": {"type": "path"},
                    "command": {"type": "str"},
                    "timeout": {"type": "int", "default": 30},
                },
            },
            "start_timeout": {"type": "int", "default": 90},
            "log": {"type": "str", "default": ""},
            "early": {"type": "bool", "default": False},
        },
    },
    "admit": {
        "type": "dict",
        "required": True,
        "options": {
            "folder": {"type": "path", "required": True},
            "closed": {"type": "list", "elements": "str", "default": []},
            "open": {"type": "list", "elements": "str", "default": []},
        },
    },
    "openrc": {
        "type": "dict",
        "options": {
            "replaced": {"type": "list", "elements": "str", "default": []},
            "kept": {"type": "list", "elements": "str", "default": []},
            "diverts": {"type": "bool", "required": True},
            "aside": {"type": "path", "required": True},
            "jobs": {"type": "path", "required": True},
            "cron_folder": {"type": "str", "default": ""},
            "cron_table": {"type": "str", "default": ""},
        },
    },
}


@contextmanager
def _named(path: object) -> Iterator[None]:
    """Say of which file a fault is. Raises ServiceError."""
    try:
        yield
    except (OSError, KeyError, ValueError) as err:
        raise ServiceError(f"{path}: {err}") from err


def write(given: list[dict[str, Any]], changes: Changes, *, folder: bool = False) -> None:
    """Bring folders or files into their state. Raises ServiceError."""
    for one in given:
        with _named(one.get("path")):
            Wanted(one, folder=folder).bring(changes)


class OnSystemd:
    """What is done under systemd."""

    manager = systemd.Systemd

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.params = params

    def refuse(self) -> None:
        """Raise ServiceError for what can't be done, before anything is changed."""

    def make_room(self, changes: Changes) -> None:
        """Remove what goes away. Raises ServiceError or OSError."""
        params = self.params
        systemd.remove(params["absent"], params["prune"], params["units"], params["mark"], changes)

    def read_again(self, changes: Changes) -> None:
        """Have the manager read what was written. Raises ServiceError."""
        systemd.read_again(changes)


class OnOpenRC:
    """What is done under OpenRC, which reads its scripts by itself."""

    manager = openrc.OpenRC

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.params = params
        own = params["openrc"]
        self.host = openrc.Host(
            params["mark"], own["diverts"], Path(own["aside"]), Path(own["jobs"]), own["cron_folder"], own["cron_table"]
        )

    def refuse(self) -> None:
        """Raise ServiceError for what can't be done, before anything is changed."""
        if names := openrc.unsupervised(self.params["openrc"]["kept"]):
            raise ServiceError(
                f"service_unit_overrides: {', '.join(names)} needs openrc.command, because its script is a sysv one, "
                "which OpenRC can't supervise"
            )

    def make_room(self, changes: Changes) -> None:
        """Remove what goes away, and the distribution's scripts from the places of ours."""
        params, host = self.params, self.host
        gone = host.gone(params["absent"], params["prune"], params["units"])
        diverted = host.diversions() if gone or params["openrc"]["replaced"] else set()
        for name in gone:
            host.remove(name, diverted, changes)
        for name in params["openrc"]["replaced"]:
            host.take_over(name, diverted, changes)

    def read_again(self, changes: Changes) -> None:
        """Have the manager read what was written: it does by itself."""


def bring(params: dict[str, Any], changes: Changes) -> None:
    """Bring everything into its state. Raises ServiceError."""
    kind: type[OnSystemd | OnOpenRC] = OnSystemd if params["manager"] == "systemd" else OnOpenRC
    host = kind(params)
    host.refuse()
    write(params["folders"], changes, folder=True)
    folder = Path(params["admit"]["folder"])
    tables = [one for one in params["files"] if Path(one["path"]).parent == folder]
    # Closed before anything starts that listens there.
    write(tables, changes)
    for name in params["admit"]["closed"]:
        admit.load(name, folder / f"{name}.nft", changes)
    with _named("service_unit"):
        host.make_room(changes)
    write([one for one in params["files"] if one not in tables], changes)
    host.read_again(changes)
    failed = bring_up([host.manager(Service(**one)) for one in params["services"]], changes)
    if failed:
        raise ServiceError("\n".join(failed))
    # Not before the service has stopped or listens elsewhere.
    with _named(folder):
        for name in params["admit"]["open"]:
            admit.remove(name, folder / f"{name}.nft", changes)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    for service in params["services"]:
        service["readiness"] = {key: value for key, value in service["readiness"].items() if value is not None}
    missing = sorted({one["package"] for one in params["requires"] if not Path(one["program"]).exists()})
    if missing:
        module.exit_json(changed=False, actions=[], missing=missing)
    changes = Changes(module.check_mode)
    failure = ""
    try:
        bring(params, changes)
    except ServiceError as err:
        failure = str(err)
    result: dict[str, Any] = {"changed": bool(changes.actions), "actions": changes.actions, "missing": []}
    if module._diff and changes.diffs:
        result["diff"] = changes.diffs
    if failure:
        module.fail_json(msg=failure, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
