#!/usr/bin/python
"""Module free_space: how much room the file systems have on which paths lie, or will lie."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: free_space
short_description: Tells how much room there is below paths
description:
  - A path that isn't there yet is looked for on the file system of the nearest folder above it that is.
options:
  paths:
    description: The paths, from the root.
    type: list
    elements: path
    required: true
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Read the room on the disks
  free_space:
    paths: [/, /var/lib/docker]
"""

RETURN = r"""
rooms:
  description: Each path with the mount point of its file system, and the room that is free there, in MiB.
  returned: always
  type: list
  elements: dict
  sample: [{path: /var/lib/docker, mount: /var, free_mb: 9000}]
"""


def room(path: str) -> dict[str, object]:
    """Return the file system that a path is on or will be on, and its free room in MiB."""
    place = Path(os.path.realpath(path))
    while not place.exists():
        place = place.parent
    state = os.statvfs(place)
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return {"path": path, "mount": str(place), "free_mb": state.f_bavail * state.f_frsize >> 20}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"paths": {"type": "list", "elements": "path", "required": True}}, supports_check_mode=True
    )
    module.exit_json(changed=False, rooms=[room(path) for path in module.params["paths"]])


if __name__ == "__main__":
    main()
