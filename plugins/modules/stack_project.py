#!/usr/bin/python
"""Module stack_project: folders, Compose file and networks of the container stack."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.stack.plugins.module_utils.container_stack import outdated_networks, subnet_errors
from ansible_collections.slipway.stack.plugins.module_utils.managed import brought

DOCUMENTATION = r"""
module: stack_project
short_description: Prepares the container stack for its services
description:
  - Writes the stack's folders and the Compose file with its networks, and asks the Engine whether its networks are as
    they are declared.
  - A network with other settings is removed with the containers on it, and all are started again. Compose either leaves
    such a network as it is (before 2.33), or recreates it and starts none but the services that the call names. Before
    that, a subnet that overlaps with one of the host's or of another network is rejected.
options:
  folders:
    description: Folders, as M(managed_files) takes them.
    type: list
    elements: dict
    default: []
  files:
    description: Files, as M(managed_files) takes them.
    type: list
    elements: dict
    default: []
  dir:
    description: Folder of the stack.
    type: path
    required: true
  project:
    description: Name of the Compose project.
    type: str
    required: true
  networks:
    description: The networks by name, each with C(internal), C(ipv6) and C(subnets).
    type: dict
    required: true
  addresses:
    description: The host's addresses.
    type: list
    elements: str
    default: []
  host:
    description: Name of the host in messages.
    type: str
    required: true
  docker:
    description: Path of Docker's program.
    type: path
    default: /usr/bin/docker
  start:
    description: Command that starts all containers there are.
    type: str
    required: true
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Prepare the stack
  stack_project:
    dir: /opt/slipway/stack
    project: slipway
    networks: {backend: {internal: true, ipv6: false, subnets: []}}
    host: vm1
    start: /usr/bin/docker compose up --detach
"""

RETURN = r"""
usable:
  description: Whether the Engine answers; it may not only in check mode.
  returned: always
  type: bool
recreated:
  description: Networks that were, or in check mode would be, recreated with all containers.
  returned: always
  type: list
"""


def engine(module: AnsibleModule, *arguments: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of Docker's program; 127 where there is none."""
    docker = module.params["docker"]
    if not os.access(docker, os.X_OK):
        return 127, "", f"there is no {docker}"
    result: tuple[int, str, str] = module.run_command([docker, *arguments])
    return result


def inspected(module: AnsibleModule, names: list[str]) -> list[dict[str, Any]]:
    """Return what the Engine says of these networks."""
    if not names:
        return []
    # One that goes in this moment is missing from the list, and the exit status is 1.
    found: list[dict[str, Any]] = json.loads(engine(module, "network", "inspect", *names)[1] or "[]")
    return found


def recreate(module: AnsibleModule) -> None:
    """Remove the networks with the containers on them, and start all again."""
    folder = module.params["dir"]
    docker = [module.params["docker"], "compose", "--project-directory", folder]
    module.run_command([*docker, "down"], cwd=folder, check_rc=True)
    module.run_command(shlex.split(module.params["start"]), cwd=folder, check_rc=True)


def main() -> None:
    """Run the module."""
    items = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "folders": items,
            "files": items,
            "dir": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "networks": {"type": "dict", "required": True},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "host": {"type": "str", "required": True},
            "docker": {"type": "path", "default": "/usr/bin/docker"},
            "start": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        diffs = brought(module, given["folders"], given["files"])
    except OSError as error:
        module.fail_json(msg=str(error))
    code, out, err = engine(module, "network", "ls", "--format", "{{.Name}}")
    if code and not module.check_mode:
        module.fail_json(msg=f"the Engine doesn't answer: {err.strip()}")
    names = out.split() if code == 0 else []
    wanted, project = given["networks"], given["project"]
    own = inspected(module, [name for name in names if name in {f"{project}_{one}" for one in wanted}])
    outdated = outdated_networks(wanted, own, project)
    if outdated:
        # Before anything goes: a subnet that the Engine then refuses would leave all sites away.
        errors = subnet_errors(wanted, inspected(module, names), project, given["addresses"])
        if errors:
            module.fail_json(msg=f"{'; '.join(errors)} ({given['host']})")
        diffs += [
            {
                "before_header": f"network {name}",
                "before": "other settings\n",
                "after": "recreated, with all containers\n",
            }
            for name in outdated
        ]
        if not module.check_mode:
            recreate(module)
    shown = {"diff": diffs} if module._diff and diffs else {}
    module.exit_json(changed=bool(diffs), usable=code == 0, recreated=outdated, **shown)


if __name__ == "__main__":
    main()
