#!/usr/bin/python
"""Module system_users_due: which users of a host, each with a group of its own, have to be made or changed."""

from __future__ import annotations

import grp
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: system_users_due
short_description: Tells which users of a host have to be made or changed
description:
  - Looks at all of them in one go. One is due if the user or the group of its name isn't there, or has another number,
    group, home or shell than it should.
options:
  users:
    description: The wanted ones, each with C(name), C(uid), which is its group's number as well, C(home) and C(shell).
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: The name of the user and of its group., type: str, required: true}
      uid: {description: The number of the user and of its group., type: int, required: true}
      home: {description: The user's home., type: str, required: true}
      shell: {description: The user's shell., type: str, required: true}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Check system users
  system_users_due:
    users: [{name: blog, uid: 20001, home: /var/www/blog, shell: /usr/sbin/nologin}]
"""

RETURN = r"""
due:
  description: Those that are due, as they were given.
  returned: always
  type: list
  elements: dict
"""


def is_due(user: dict[str, Any]) -> bool:
    """Tell whether a user or its group has to be made or changed."""
    try:
        found = pwd.getpwnam(user["name"])
        group = grp.getgrnam(user["name"])
    except KeyError:
        return True
    wanted = (user["uid"], user["uid"], user["uid"], user["home"], user["shell"])
    return (found.pw_uid, found.pw_gid, group.gr_gid, found.pw_dir, found.pw_shell) != wanted


def main() -> None:
    """Run the module."""
    kinds = {"name": "str", "uid": "int", "home": "str", "shell": "str"}
    options = {name: {"type": kind, "required": True} for name, kind in kinds.items()}
    module = AnsibleModule(
        argument_spec={"users": {"type": "list", "elements": "dict", "required": True, "options": options}},
        supports_check_mode=True,
    )
    module.exit_json(changed=False, due=[user for user in module.params["users"] if is_due(user)])


if __name__ == "__main__":
    main()
