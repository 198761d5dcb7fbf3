#!/usr/bin/python
"""Module foreign_servers: what a host serves already that packages of ours would replace."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: foreign_servers
short_description: Tells what a host serves already
description:
  - Looks for servers that somebody else installed, by the programs that run, and by what they left on the disk - sites,
    pools, databases, keys of a cache, configuration that isn't the package's any more.
  - A package that is installed, doesn't run and was never configured is nothing to keep. Programs in containers are
    nobody's packages.
options:
  kinds:
    description: What to look for.
    type: list
    elements: str
    choices: [web, php, database, cache, ftp]
    required: true
  running_only:
    description: Look at the programs alone.
    type: bool
    default: false
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Look for other servers
  foreign_servers:
    kinds: [web, database]
"""

RETURN = r"""
found:
  description: A line for each finding.
  returned: always
  type: list
  elements: str
  sample: ["nginx is running", "/etc/nginx/sites-enabled holds shop.conf"]
"""

# A MariaDB that was just installed runs, too; what it holds is told by its databases.
_PROGRAMS = {
    "web": ["nginx"],
    "ftp": ["vsftpd"],
    "cache": ["redis-server", "valkey-server"],
}
# Folders with configuration, the pattern of what counts in them, and what a package puts there.
_FOLDERS = {
    "web": [
        ("etc/nginx/sites-enabled", "*", "default"),
        ("etc/nginx/conf.d", "*.conf", ""),
        ("etc/nginx/http.d", "*.conf", "default.conf"),
    ],
    "php": [("etc/php/*/fpm/pool.d", "*.conf", "www.conf"), ("etc/php[0-9]*/php-fpm.d", "*.conf", "www.conf")],
}
_FILES = {
    "web": ["etc/nginx/nginx.conf"],
    "cache": ["etc/redis/redis.conf", "etc/redis.conf", "etc/valkey/valkey.conf"],
    "ftp": ["etc/vsftpd.conf", "etc/vsftpd/vsftpd.conf"],
}
_OWN_DATABASES = {"mysql", "performance_schema", "sys", "information_schema", "lost+found"}
_CACHE_FOLDERS = ["var/lib/redis", "var/lib/valkey"]
_EMPTY = 256  # bytes; a snapshot without a key has about 90


def running(proc: Path) -> set[str]:
    """Return the names of the programs that run on the host itself, as the kernel has them.

    Those in containers have process numbers of their own (pid_namespaces(7)), unlike this process.
    """
    host = _numbers(proc / "self")
    found = set()
    for process in proc.glob("[0-9]*"):
        # Processes end meanwhile.
        with suppress(OSError):
            if _numbers(process) == host:
                found.add((process / "comm").read_text(encoding="utf-8", errors="replace").strip())
    return found


def _numbers(process: Path) -> str:
    """Return the namespace that a process has its number in. Raises OSError."""
    return str((process / "ns/pid").readlink())


def _packaged(root: Path) -> dict[str, str]:
    """Return the checksums of files of configuration as their packages bring them, by path without the first slash."""
    found: dict[str, str] = {}
    status = root / "var/lib/dpkg/status"
    if status.exists():
        for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
            # Below "Conffiles:": path, MD5, and a word where it is obsolete.
            fields = line.split()
            if line.startswith(" /") and len(fields) > 1:
                found[fields[0].lstrip("/")] = fields[1]
    installed = next((path for path in (root / "lib/apk/db/installed", root / "usr/lib/apk/db/installed")
                      if path.exists()), None)  # fmt: skip
    if installed:
        folder = name = ""
        for line in installed.read_text(encoding="utf-8", errors="replace").splitlines():
            # A folder, a file in it, and the file's SHA-1 in base64 behind Q1.
            key, _, value = line.partition(":")
            if key == "F":
                folder = value
            elif key == "R":
                name = f"{folder}/{value}"
            elif key == "Z" and value.startswith("Q1"):
                found[name] = base64.b64decode(value[2:]).hex()
    return found


def changed_files(root: Path, paths: list[str]) -> list[str]:
    """Return which files of configuration are there and aren't as their package brings them."""
    there = [path for path in paths if (root / path).is_file()]
    packaged = _packaged(root) if there else {}
    found = []
    for path in there:
        content = (root / path).read_bytes()
        # What dpkg and apk keep are checksums of these two kinds.
        sums = {hashlib.md5(content, usedforsecurity=False).hexdigest(),
                hashlib.sha1(content, usedforsecurity=False).hexdigest()}  # fmt: skip
        if packaged.get(path) not in sums:
            found.append(f"/{path} was changed")
    return found


def left(root: Path, kind: str) -> list[str]:
    """Return what a server of this kind has left on the disk."""
    found = changed_files(root, _FILES.get(kind, []))
    for folder, pattern, stock in _FOLDERS.get(kind, []):
        for place in sorted(root.glob(folder)):
            names = sorted(one.name for one in place.iterdir() if fnmatch(one.name, pattern) and one.name != stock)
            if names:
                found.append(f"/{place.relative_to(root)} holds {', '.join(names)}")
    data = root / "var/lib/mysql"
    if kind == "database" and data.is_dir():
        names = sorted(one.name for one in data.iterdir() if one.is_dir() and not one.name.startswith((".", "#")))
        if others := [name for name in names if name not in _OWN_DATABASES]:
            found.append(f"MariaDB has databases of its own: {', '.join(others)}")
    for folder in _CACHE_FOLDERS if kind == "cache" else []:
        place = root / folder
        kept = [*place.glob("*.rdb"), *place.glob("appendonly*/*.rdb"), *place.glob("appendonly*/*.aof")]
        if any(file.stat().st_size > _EMPTY for file in kept):
            found.append(f"/{folder} holds data")
    return found


def main() -> None:
    """Run the module."""
    kinds = {"type": "list", "elements": "str", "required": True, "choices": ["web", "php", "database", "cache", "ftp"]}
    module = AnsibleModule(
        argument_spec={"kinds": kinds, "running_only": {"type": "bool", "default": False}}, supports_check_mode=True
    )
    wanted = module.params["kinds"]
    programs = running(Path("/proc"))
    found = [f"{name} is running" for kind in wanted for name in _PROGRAMS.get(kind, []) if name in programs]
    if module.params["running_only"]:
        found += ["mariadbd is running"] if "database" in wanted and "mariadbd" in programs else []
    else:
        found += [line for kind in wanted for line in left(Path("/"), kind)]
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
