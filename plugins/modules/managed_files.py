#!/usr/bin/python
"""Module managed_files: brings several folders and files into their state in one go."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.stack.plugins.module_utils.managed import brought

DOCUMENTATION = r"""
module: managed_files
short_description: Brings several folders and files into their state in one go
description:
  - Does what M(ansible.builtin.file) and M(ansible.builtin.copy) with C(content) do, in one task for all of them. Each
    of those would be a program that is sent and started for each file.
  - Each file is written by a rename, so that nobody reads half of it; a symbolic link in its place is replaced.
options:
  folders:
    description:
      - Folders, each with C(path), C(mode) and, unless they are root's, C(owner) and C(group), by name or number.
    type: list
    elements: dict
    default: []
  files:
    description:
      - The same of files, with C(content). In place of it C(src) may name a template of the role, which sees C(vars)
        besides all variables; it is rendered on the controller.
    type: list
    elements: dict
    default: []
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Write the settings
  managed_files:
    folders: [{path: /etc/slipway/web, mode: '0755'}]
    files: [{path: /etc/slipway/web/nginx.conf, content: "events {}\n", mode: '0644'}]
"""


def main() -> None:
    """Run the module."""
    items = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(argument_spec={"folders": items, "files": items}, supports_check_mode=True)
    try:
        diffs = brought(module.params["folders"], module.params["files"], check=module.check_mode)
    except OSError as error:
        module.fail_json(msg=str(error))
    shown = {"diff": diffs} if module._diff and diffs else {}
    module.exit_json(changed=bool(diffs), **shown)


if __name__ == "__main__":
    main()
