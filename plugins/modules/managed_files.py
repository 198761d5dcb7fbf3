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
  - Nothing is changed before every file that is to be written and has C(validate) passed it. As with
    M(ansible.builtin.template), check mode doesn't validate, since the program may not be installed yet.
options:
  absent:
    description:
      - Absolute paths of files, links and folders to remove, the latter with all they hold. They are removed first, so
        that a path may be listed below O(folders) or O(files) as well.
    type: list
    elements: str
    default: []
  folders:
    description:
      - Folders, each with C(path), C(mode) and, unless they are root's, C(owner) and C(group), by name or number. In
        check mode a name may be unknown, since a package or a task that is skipped may add it.
    type: list
    elements: dict
    default: []
  files:
    description:
      - The same of files, with C(content). In place of it C(src) may name a template of the role, which sees C(vars)
        besides all variables; it is rendered on the controller.
      - C(validate) is a command that ends with an error for wrong content; C(%s) in it stands for the path of a copy.
    type: list
    elements: dict
    default: []
author: the Slipway authors
"""

RETURN = r"""
paths:
  description: The paths that were changed or, in check mode, would be.
  type: list
  elements: str
  returned: success
"""

EXAMPLES = r"""
- name: Write the settings
  managed_files:
    folders: [{path: /etc/slipway/web, mode: '0755'}]
    files: [{path: /etc/slipway/web/nginx.conf, content: "events {}\n", mode: '0644', validate: nginx -t -c %s}]
    absent: [/etc/slipway/web/old.conf]
"""


def main() -> None:
    """Run the module."""
    items = {"type": "list", "elements": "dict", "default": []}
    paths = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(argument_spec={"absent": paths, "folders": items, "files": items}, supports_check_mode=True)
    given = module.params
    try:
        diffs = brought(module, given["folders"], given["files"], given["absent"])
    except OSError as error:
        module.fail_json(msg=str(error))
    shown = {"diff": diffs} if module._diff and diffs else {}
    changed = list(dict.fromkeys(difference["before_header"] for difference in diffs))
    module.exit_json(changed=bool(diffs), paths=changed, **shown)


if __name__ == "__main__":
    main()
