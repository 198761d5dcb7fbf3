#!/usr/bin/python
"""Module found_files: several searches for files in one go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: found_files
short_description: Searches for files several times in one go
description:
  - Does what M(ansible.builtin.find) does, for several searches in one task. Hidden files are left out, and symbolic
    links to folders are not followed.
options:
  searches:
    description: The searches, by name.
    type: dict
    required: true
    suboptions:
      paths:
        description: Folders to search. One that isn't there holds nothing.
        type: list
        elements: path
        required: true
      patterns:
        description: Shell patterns of file names; by default all.
        type: list
        elements: str
        default: ['*']
      contains:
        description: A regular expression with which a line of the file has to begin.
        type: str
      folders:
        description: Whether folders are searched for, in place of files.
        type: bool
        default: false
      depth:
        description: How many folders deep. One is the folder itself.
        type: int
        default: 1
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Find the pools of PHP
  found_files:
    searches:
      pools: {paths: [/etc/php], patterns: ['*.conf'], contains: '; Written by Slipway', depth: 4}
"""

RETURN = r"""
found:
  description: The paths of each search, by its name.
  type: dict
  returned: success
"""


def _entries(folder: Path, depth: int) -> Iterator[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        yield entry
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), depth - 1)


def _contains(path: str, line: re.Pattern[str]) -> bool:
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        return any(line.match(one) for one in file)


def search(given: dict[str, Any]) -> list[str]:
    """Return the paths that a search finds. Raises OSError, KeyError, or re.error for a wrong expression."""
    line = re.compile(given["contains"]) if given.get("contains") else None
    found = []
    for folder in dict.fromkeys(given["paths"]):
        for entry in _entries(Path(folder), given.get("depth", 1)):
            right = (
                entry.is_dir(follow_symlinks=False) if given.get("folders") else entry.is_file(follow_symlinks=False)
            )
            named = not entry.name.startswith(".") and any(
                fnmatch(entry.name, pattern) for pattern in given.get("patterns", ["*"])
            )
            if right and named and (line is None or _contains(entry.path, line)):
                found.append(entry.path)
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"searches": {"type": "dict", "required": True}}, supports_check_mode=True)
    found = {}
    for name, given in module.params["searches"].items():
        try:
            found[name] = search(given)
        except (OSError, KeyError, re.error) as error:
            module.fail_json(msg=f"{name}: {error}")
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
