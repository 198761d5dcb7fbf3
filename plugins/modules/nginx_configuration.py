#!/usr/bin/python
"""Module nginx_configuration: looks at the configuration of nginx as a whole, the users' own files included."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: nginx_configuration
short_description: Looks at the configuration of nginx as a whole
description:
  - Removes what Slipway wrote for sites that are gone. Other files among the sites are named in a warning, and stay.
  - Fails if somebody else than root can change the users' own files, or if one of them is a link, which would lead to
    what isn't summed up, and nowhere from inside of a container.
  - Sums up all files of the configuration and the certificates, and compares that with the note of what the server
    read. A run that is cut before its reload leaves the server with what it read before, and the next run would see no
    change otherwise. Nor does nginx notice a renewed certificate by itself.
  - Reports a change if the server has something to read.
options:
  folder:
    description: The folder of the configuration, with C(sites) and, for the users' own files, C(custom).
    type: path
    required: true
  file:
    description: The main file. All that lies beside and below it counts as well.
    type: path
    required: true
  sites:
    description: Names of the sites, each with a file in C(sites).
    type: list
    elements: str
    required: true
  certificates:
    description: The certificates that the sites have.
    type: list
    elements: path
    default: []
  pid:
    description: The file with the number of the server's process.
    type: path
    required: true
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Check the whole configuration
  nginx_configuration:
    folder: /etc/slipway/nginx
    file: /etc/nginx/nginx.conf
    sites: [blog]
    certificates: [/etc/slipway/tls/blog.crt]
    pid: /run/nginx.pid
"""

RETURN = r"""
sum:
  description: What stands for the configuration on the disk; noted in C(.loaded) as soon as the server read it.
  type: str
  returned: success
unread:
  description: Whether the server runs with another configuration than that on the disk.
  type: bool
  returned: success
running:
  description: Whether the server runs, as its file of the process says.
  type: bool
  returned: success
"""

MARK = "# Written by Slipway"
NOTE = ".loaded"


def entries(folder: Path) -> Iterator[Path]:
    """Yield all below a folder, links included and not followed, in an order of their own; nothing hidden."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from entries(path)


def is_ours(path: Path) -> bool:
    """Tell whether a file has a line by which Slipway knows its own."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return any(line.startswith(MARK) for line in file)


def is_loose(path: Path) -> bool:
    """Tell whether others than root can change what lies there, or put something else in its place."""
    found = path.lstat()
    return stat.S_ISLNK(found.st_mode) or found.st_uid != 0 or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def total(paths: set[Path]) -> str:
    """Return what stands for these files. Names count, because the same file means something else elsewhere."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
        digest.update(f"{path} {content}\n".encode())
    return digest.hexdigest()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "file": {"type": "path", "required": True},
            "sites": {"type": "list", "elements": "str", "required": True},
            "certificates": {"type": "list", "elements": "path", "default": []},
            "pid": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    folder = Path(given["folder"])
    sites, custom, note = folder / "sites", folder / "custom", folder / NOTE
    try:
        others = [
            path for path in entries(sites)
            if path.parent == sites and path.suffix == ".conf" and path.stem not in given["sites"]
        ]  # fmt: skip
        gone = [path for path in others if path.is_file() and not path.is_symlink() and is_ours(path)]
        if loose := [str(path) for path in entries(custom) if is_loose(path)]:
            module.fail_json(
                msg=f"{', '.join(loose)}: not allowed here; nginx's configuration is a file that belongs to root and"
                " that nobody else can write (chown root, chmod go-w), not a link"
            )
        for path in gone if not module.check_mode else []:
            path.unlink()
        files = {path for top in (folder, Path(given["file"]).parent) for path in entries(top)}
        read = {path for path in files if path.is_file() and not path.is_symlink()}
        summed = total((read - set(gone)) | {Path(path) for path in given["certificates"]})
        noted = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    except OSError as error:
        module.fail_json(msg=str(error))
    if foreign := ", ".join(str(path) for path in others if path not in gone):
        module.warn(f"{foreign}: not written by Slipway, and not included by nginx; move it to {custom}/http")
    unread = summed != noted
    changes = [f"remove {path}" for path in gone]
    if unread:
        changes.append("The server runs with another configuration than that on the disk")
    shown = {"diff": {"prepared": "".join(f"{line}\n" for line in changes)}} if module._diff and changes else {}
    module.exit_json(
        changed=bool(changes), msg="; ".join(changes), sum=summed, unread=unread,
        running=os.path.lexists(given["pid"]), **shown,
    )  # fmt: skip


if __name__ == "__main__":
    main()
