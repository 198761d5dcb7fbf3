#!/usr/bin/python
"""Module run_lock: a host belongs to one run at a time, whichever machine the run comes from."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: run_lock
short_description: Takes a host for a run, or gives it back
description:
  - The lock names the network connection by which the run reaches the host, and lasts as long as that connection does,
    so one that was cut leaves nothing behind. ssh may keep a connection of Ansible's for two minutes after the run.
  - Where a machine went away without a word, its connection may last for hours. So whoever has the lock may take it
    again by another connection; that two runs of the same owner don't meet is for the owner's own machine to see to.
  - A connection that isn't one of the network takes no lock.
  - Root alone sees whose a connection is.
options:
  state:
    description: Whether the host is to be taken or given back.
    type: str
    choices: [held, free]
    required: true
  owner:
    description: Whose run it is, for example user and machine.
    type: str
    required: true
  timeout:
    description: Seconds to wait for another run. With 0 it only tells whether there is one.
    type: int
    default: 0
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Take the host
  run_lock:
    state: held
    owner: captain@laptop
    timeout: 600
"""

RETURN = r"""
owner:
  description: Who has the host, if that is another run; else an empty text.
  returned: always
  type: str
  sample: "captain@laptop at 10.0.0.5, since 2026-11-28 10:31:07"
"""

FILE = Path("/run/slipway-run.lock")
_PAUSE = 2  # seconds between two looks
_ESTABLISHED = "01"


def connections(proc: Path) -> dict[str, str]:
    """Return the established connections of the network: the address of the other end, by the socket's inode."""
    found = {}
    for table in (proc / "net/tcp", proc / "net/tcp6"):
        # A kernel without IPv6 has one of them.
        for line in table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if fields[3] == _ESTABLISHED:
                found[fields[9]] = _address(fields[2].rpartition(":")[0])
    return found


def _address(text: str) -> str:
    """Return an IPv4 address as people write it; what is longer is IPv6, of which the last word may be one."""
    words = bytes.fromhex(text[-8:])
    mapped = text[:-8] in ("", "0000000000000000FFFF0000")
    return ".".join(str(byte) for byte in reversed(words)) if mapped else f"[{text}]"


def own_connection(proc: Path, pid: int, known: dict[str, str]) -> str | None:
    """Return the socket of the connection that a process came by: that of the nearest process above it with one."""
    while pid > 1:
        with suppress(OSError):
            for entry in sorted((proc / str(pid) / "fd").iterdir(), key=lambda entry: int(entry.name)):
                with suppress(OSError):
                    inode = str(entry.readlink()).removeprefix("socket:[").rstrip("]")
                    if inode in known:
                        return inode
        try:
            # Behind the name, which may hold blanks and brackets, come the state and the parent.
            pid = int(
                (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
        except (OSError, ValueError, IndexError):
            return None
    return None


def take(file: Path, owner: str, mine: str | None, known: dict[str, str]) -> str:
    """Take the host for the connection ``mine``; return who has it, or an empty text. Raises OSError."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "r+", encoding="utf-8") as content:
        fcntl.flock(content, fcntl.LOCK_EX)
        try:
            noted = json.load(content)
        except ValueError:
            noted = {}
        if noted.get("inode") in known and noted["inode"] != mine and noted.get("owner") != owner:
            return f"{noted.get('owner')} at {known[noted['inode']]}, since {noted.get('since')}"
        if mine:
            content.seek(0)
            content.truncate()
            json.dump({"owner": owner, "inode": mine, "since": time.strftime("%Y-%m-%d %H:%M:%S")}, content)
        return ""


def release(file: Path, owner: str) -> None:
    """Give the host back, if it is ours."""
    with suppress(OSError, ValueError):
        if json.loads(file.read_text(encoding="utf-8")).get("owner") == owner:
            file.write_text("{}", encoding="utf-8")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "owner": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["held", "free"], "required": True},
            "timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    proc = Path("/proc")
    end = time.monotonic() + module.params["timeout"]
    while True:
        known = connections(proc)
        mine = own_connection(proc, os.getpid(), known)
        if module.params["state"] == "free":
            # A run in check mode took none.
            if not module.check_mode:
                release(FILE, module.params["owner"])
            module.exit_json(changed=False, owner="")
        # The lock is no part of what the host is: taking it changes nothing.
        owner = "" if module.check_mode else take(FILE, module.params["owner"], mine, known)
        if not owner or module.params["timeout"] == 0:
            module.exit_json(changed=False, owner=owner)
        if time.monotonic() >= end:
            module.fail_json(
                msg=f"another run is still at work here ({owner}); run again later, or remove {FILE} if it is gone"
            )
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
