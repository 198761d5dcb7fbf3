#!/usr/bin/python
"""Module container_command: runs a program, in a container or not, and again where it was not started."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.stack.plugins.module_utils.container_stack import called

DOCUMENTATION = r"""
module: container_command
short_description: Runs a program in a container
description:
  - Does what M(ansible.builtin.command) does with C(argv), for calls of C(docker exec) and C(docker compose exec).
  - Docker's runtime now and then fails to start a program, and the call ends with 126 or before it has read its input.
    Nothing was done then, and it is called again, up to four times in all.
  - In check mode the program isn't run, unless the task says C(check_mode: false).
options:
  argv:
    description: The call, each argument by itself.
    type: list
    elements: str
    required: true
  chdir:
    description: Folder that it is called in.
    type: path
  stdin:
    description: Its input; nothing is added to it.
    type: str
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Check the configuration
  container_command:
    argv: [docker, compose, exec, -T, nginx, nginx, -t]
    chdir: /opt/slipway/stack
  changed_when: false
"""

RETURN = r"""
rc:
  description: The exit status; another one than 0 fails the task.
  returned: always
  type: int
stdout:
  description: What it printed, without the line ends behind it.
  returned: always
  type: str
stderr:
  description: The same of its errors.
  returned: always
  type: str
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "argv": {"type": "list", "elements": "str", "required": True},
            "chdir": {"type": "path"},
            "stdin": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, rc=0, stdout="", stderr="", msg="not run in check mode")
    try:
        code, out, err = called(
            lambda: module.run_command(
                given["argv"],
                cwd=given["chdir"],
                data=given["stdin"],
                binary_data=True,
                handle_exceptions=False,
                ignore_invalid_cwd=False,
            )
        )
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{given['argv'][0]} can't be run: {error}")
    result = {"rc": code, "stdout": out.rstrip("\r\n"), "stderr": err.rstrip("\r\n"), "changed": True}
    if code:
        module.fail_json(msg=f"{given['argv'][0]} failed with {code}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
