#!/usr/bin/python
"""Module accounts: looks which users and groups differ from what they are to be."""

from __future__ import annotations

import grp
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: accounts
short_description: Brings several users, each with a group of its own, into their state
description:
  - Looks at all of them in one go, and calls M(ansible.builtin.group) and M(ansible.builtin.user) for the few that
    differ.
options:
  users:
    description: The users.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, and that of its group.
        type: str
        required: true
      uid:
        description:
          - Its number, and that of its group. Without one it is a user of somebody else's, who alone makes it; it only
            gets C(groups).
        type: int
      groups:
        description: Further groups that it is in, by name. In check mode one may not be there yet.
        type: list
        elements: str
        default: []
      gids:
        description: The same by number. One that no group has is passed over.
        type: list
        elements: int
        default: []
      home:
        description: Its home folder, which isn't made.
        type: path
      shell:
        description: Its shell.
        type: path
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Create users of the sites
  accounts:
    users: [{name: blog, uid: 20001, home: /var/www/blog, shell: /usr/sbin/nologin}]
"""

RETURN = r"""
differing:
  description: Users that differ, each with what is C(before) and C(after), and whether its C(group) has to be made.
  type: list
  elements: dict
  returned: success
"""


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def difference(wanted: dict[str, Any], groups: list[grp.struct_group], *, check: bool) -> dict[str, Any] | None:
    """Return how a user differs from what it is to be, or None."""
    found = _user(wanted["name"])
    names = {group.gr_name for group in groups}
    asked = wanted["groups"] + [group.gr_name for group in groups if group.gr_gid in wanted["gids"]]
    if found is None and wanted["uid"] is None and check:
        # The package that makes it isn't there yet.
        return None
    joined = {
        group.gr_name for group in groups if wanted["name"] in group.gr_mem or (found and group.gr_gid == found.pw_gid)
    }
    missing = sorted(name for name in set(asked) - joined if not check or name in names)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    own = False
    if wanted["uid"] is not None:
        own = not any((group.gr_name, group.gr_gid) == (wanted["name"], wanted["uid"]) for group in groups)
        after = {"uid": wanted["uid"], "gid": wanted["uid"], "home": wanted["home"], "shell": wanted["shell"]}
        if found:
            before = {"uid": found.pw_uid, "gid": found.pw_gid, "home": found.pw_dir, "shell": found.pw_shell}
    if not own and before == after and not missing:
        return None
    if missing:
        before["groups"], after["groups"] = sorted(joined), sorted(joined | set(missing))
    return {**wanted, "before": before, "after": after, "group": own, "groups": missing}


def main() -> None:
    """Run the module."""
    user = {
        "name": {"type": "str", "required": True},
        "uid": {"type": "int"},
        "groups": {"type": "list", "elements": "str", "default": []},
        "gids": {"type": "list", "elements": "int", "default": []},
        "home": {"type": "path"},
        "shell": {"type": "path"},
    }
    module = AnsibleModule(
        argument_spec={"users": {"type": "list", "elements": "dict", "required": True, "options": user}},
        supports_check_mode=True,
    )
    groups = grp.getgrall()
    found = [difference(one, groups, check=module.check_mode) for one in module.params["users"]]
    module.exit_json(changed=False, differing=[one for one in found if one])


if __name__ == "__main__":
    main()
