#!/usr/bin/python
"""Module fetched_files: looks which files have to be brought to the host."""

from __future__ import annotations

import grp
import hashlib
import pwd
import stat
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: fetched_files
short_description: Brings files to the host, from a web server or from the controller
description:
  - The host fetches what has a URL of a web server. C(file:///path) is a file on the controller, which is copied to the
    host. All of these are compared with their checksums before the host is looked at.
  - The host is looked at once, and only files that differ are fetched.
  - In check mode nothing is fetched. The web server is only asked whether it has the file.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      url:
        description: Where the file comes from.
        type: str
        required: true
      checksum:
        description: Its checksum, as C(algorithm:hex).
        type: str
        required: true
      subject:
        description: What asks for the file, such as a variable; messages begin with it.
        type: str
        required: true
      dest:
        description: Where it lies on the host, root's.
        type: path
        required: true
      mode:
        description: Its mode.
        type: str
        default: '0644'
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Fetch the archive
  fetched_files:
    files:
      - url: https://mirror.example.test/site.tar.gz
        checksum: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
        subject: docs
        dest: /srv/site.tar.gz
"""

RETURN = r"""
differing:
  description: The paths of files that are not there, or differ, and whether their content does.
  type: dict
  returned: success
"""

_BLOCK = 1 << 20


def is_there(path: Path, checksum: str) -> bool:
    """Tell whether a regular file has this checksum."""
    algorithm, _, wanted = checksum.partition(":")
    digest = hashlib.new(algorithm)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == wanted.lower()


def is_owned(path: Path, mode: str) -> bool:
    """Tell whether a file is root's, and has this mode."""
    found = path.lstat()
    root = (pwd.getpwnam("root").pw_uid, grp.getgrnam("root").gr_gid)
    return (found.st_uid, found.st_gid) == root and stat.S_IMODE(found.st_mode) == int(mode, 8)


def main() -> None:
    """Run the module."""
    file = {
        "dest": {"type": "path", "required": True},
        "checksum": {"type": "str", "required": True},
        "mode": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": file}},
        supports_check_mode=True,
    )
    there = {one["dest"]: is_there(Path(one["dest"]), one["checksum"]) for one in module.params["files"]}
    differing = {
        one["dest"]: not there[one["dest"]]
        for one in module.params["files"]
        if not (there[one["dest"]] and is_owned(Path(one["dest"]), one["mode"]))
    }
    module.exit_json(changed=False, differing=differing)


if __name__ == "__main__":
    main()
