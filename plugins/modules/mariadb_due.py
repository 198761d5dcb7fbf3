#!/usr/bin/python
"""Module mariadb_due: which databases and users of a server have to be made, changed or removed."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ansible.mariadb.plugins.module_utils.mysql import (
    mysql_common_argument_spec,
    mysql_connect,
    mysql_driver,
    mysql_driver_fail_msg,
)
from ansible_collections.ansible.mariadb.plugins.module_utils.user import (
    get_mode,
    privileges_unpack,
    user_exists,
    user_mod,
)

DOCUMENTATION = r"""
module: mariadb_due
short_description: Tells which databases and users of a server have to be made, changed or removed
description:
  - Looks at all of them over one connection, and changes nothing. What M(ansible.mariadb.mariadb_user) would change of
    a user is told by that module's own code in check mode, passwords by their hashes included.
options:
  databases:
    description: Names of the wanted databases.
    type: list
    elements: str
    default: []
  users:
    description: The wanted users, each with C(name), C(host), C(priv) and C(password) or C(plugin).
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: The user's name., type: str, required: true}
      host: {description: Where the user comes from., type: str, default: localhost}
      password: {description: The password., type: str}
      plugin: {description: What the user is authenticated by in place of a password., type: str}
      priv: {description: The privileges., type: str, required: true}
extends_documentation_fragment: [ansible.mariadb.mysql]
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Check databases and users
  mariadb_due:
    databases: [blog]
    users: [{name: blog, password: "{{ password }}", priv: 'blog.*:ALL'}]
    login_unix_socket: /run/mysqld/mysqld.sock
"""

RETURN = r"""
databases:
  description: Positions in O(databases) of those that are missing.
  returned: always
  type: list
  elements: int
users:
  description: Positions in O(users) of those that are missing or differ.
  returned: always
  type: list
  elements: int
undeclared:
  description: Accounts of wanted users at other hosts, and accounts without a name, each with C(name) and C(host).
  returned: always
  type: list
  elements: dict
due:
  description: What the other three hold, so that one question tells whether there is anything to do.
  returned: always
  type: list
  elements: raw
fault:
  description: Why the server can't be asked; empty if it can.
  returned: always
  type: str
"""


def missing(cursor: Any, databases: list[str]) -> list[int]:
    """Return the positions of the databases that the server doesn't have."""
    cursor.execute("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
    there = {row[0] for row in cursor.fetchall()}
    return [position for position, name in enumerate(databases) if name not in there]


def differs(module: AnsibleModule, cursor: Any, user: dict[str, Any], mode: str) -> bool:
    """Tell whether a user has to be made or changed; the module is in check mode."""
    host = user["host"].lower()
    if not user_exists(cursor, user["name"], host, False):
        return True
    privileges = privileges_unpack(user["priv"], mode, True)
    # In the order of the parameters: what mariadb_user hands on for these options.
    result = user_mod(
        cursor, user["name"], host, False, user["password"], False, user["plugin"], None, None, None, privileges,
        False, False, None, None, module, None, None, locked=None,
    )  # fmt: skip
    return bool(result["changed"])


def undeclared(cursor: Any, users: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the accounts by which a wanted user could come from elsewhere, and all without a name."""
    names = {"", *(user["name"] for user in users)}
    declared = {(user["name"], user["host"].lower()) for user in users}
    cursor.execute("SELECT User, Host FROM mysql.user")
    return [
        {"name": name, "host": host}
        for name, host in cursor.fetchall()
        if name in names and (name, host.lower()) not in declared
    ]


def main() -> None:
    """Run the module."""
    option = {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "default": "localhost"},
        "password": {"type": "str", "no_log": True},
        "plugin": {"type": "str"},
        "priv": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            **mysql_common_argument_spec(),
            "databases": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "dict", "default": [], "options": option},
        },
        supports_check_mode=True,
    )
    if mysql_driver is None:
        module.fail_json(msg=mysql_driver_fail_msg)
    given = module.params
    # Nothing that is called from here on may change anything.
    module.check_mode = True
    result: dict[str, Any] = {"databases": [], "users": [], "undeclared": [], "fault": ""}
    try:
        cursor, _ = mysql_connect(
            module, given["login_user"], given["login_password"], given["config_file"],
            connect_timeout=given["connect_timeout"], autocommit=True,
        )  # fmt: skip
        mode = get_mode(cursor)
        result["databases"] = missing(cursor, given["databases"])
        result["users"] = [
            position for position, user in enumerate(given["users"]) if differs(module, cursor, user, mode)
        ]
        result["undeclared"] = undeclared(cursor, given["users"])
    # Each driver has errors of its own. A task that hides no passwords says it, so that it can be read.
    except Exception as error:
        result["fault"] = f"{type(error).__name__}: {error}"
    due = [*result["databases"], *result["users"], *result["undeclared"], *filter(None, [result["fault"]])]
    module.exit_json(changed=False, due=due, **result)


if __name__ == "__main__":
    main()
