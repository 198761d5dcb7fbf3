#!/usr/bin/python
"""Module ssh_session: by which address and port this run reaches the host, and which sshd the host has."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.stack.plugins.module_utils.service_files import read
from ansible_collections.slipway.stack.plugins.module_utils.service_processes import run

DOCUMENTATION = r"""
module: ssh_session
short_description: By which address and port this run reaches the host
description:
  - Programs that gain rights (sudo, doas) lose the variable C(SSH_CONNECTION), so it is looked for among the processes
    that this one was started by.
  - Nothing is changed but for a folder in C(/run), without which sshd doesn't say its ports. Its service makes it, and
    a socket may start that for the first connection only.
options:
  file:
    description: A file of sshd's settings, as RV(own) tells it.
    type: str
    default: ''
attributes:
  check_mode: {support: full}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Look at the connection
  ssh_session:
  register: session
"""

RETURN = r"""
client: {type: str, returned: always, description: The address that the run comes from; empty where it is unknown.}
port: {type: int, returned: always, description: The port of the host that it comes to by ssh; 0 where it is unknown.}
listening:
  type: list
  elements: int
  returned: always
  description: >-
    The ports of the host's sshd where the run's own isn't known, unless sshd refuses its settings; nothing otherwise.
server: {type: bool, returned: always, description: Whether the host has an sshd.}
version: {type: str, returned: always, description: 'Version of OpenSSH, such as C(10.0); empty without sshd.'}
own:
  type: dict
  returned: always
  description: What O(file) says now, by names in small letters; nothing where it isn't there.
user: {type: str, returned: always, description: Name of the user who logged in; empty where it isn't by ssh.}
"""

_SSHD = "/usr/sbin/sshd"


def connection(environment: bytes) -> tuple[str, int] | None:
    """Return the client's address and the server's port of an environment as /proc has it, if it tells them.

    Where sshd itself doesn't know them, as below a socket of another kind, that is an empty address and port 0.
    """
    for entry in environment.split(b"\0"):
        name, _, value = entry.decode(errors="replace").partition("=")
        # ssh(1): the client's address and port, the server's address and port.
        words = value.split()
        if name == "SSH_CONNECTION" and words[:1] == ["UNKNOWN"]:
            return "", 0
        if name == "SSH_CONNECTION" and len(words) == 4:  # noqa: PLR2004
            return words[0].partition("%")[0].removeprefix("::ffff:"), int(words[3])
    return None


def session(pid: int, proc: Path = Path("/proc")) -> tuple[str, int, int]:
    """Return address and port of the session that a process belongs to, and the id of who logged in.

    Without one that is an empty address, port 0 and -1; where sshd doesn't know the connection, the id is told alone.
    """
    found = ("", 0, -1)
    while pid > 1:
        here = proc / str(pid)
        try:
            told = connection((here / "environ").read_bytes())
            owner = here.stat().st_uid
            # Field 4 of proc(5), the parent; the name before it may hold anything.
            parent = int((here / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            break
        if told:
            # The outermost that has it is the login's own.
            found = (*told, owner)
        pid = parent
    return found


def version(text: str) -> str:
    """Return the version in what ssh says of itself, such as C(9.2) of C(OpenSSH_9.2p1)."""
    said = re.search(r"OpenSSH_(\d+\.\d+)", text)
    return said[1] if said else ""


def ports(text: str) -> list[int]:
    """Return the ports in what sshd makes of its settings."""
    return [int(number) for number in re.findall(r"^port (\d+)$", text, re.MULTILINE)]


def written(text: str) -> dict[str, str]:
    """Return what a file of sshd's settings says, by names in small letters; the first value counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if value and not name.startswith("#"):
            found.setdefault(name.lower(), value.strip())
    return found


def settings() -> str:
    """Return what sshd makes of its settings; nothing where it refuses them."""
    # Without such words it would refuse blocks for some addresses or ports.
    ask = [_SSHD, "-T", "-C", "user=root,host=0.0.0.0,addr=0.0.0.0,laddr=0.0.0.0,lport=22"]
    code, said = run(ask)
    lacking = re.search(r"Missing privilege separation directory: (/\S+)", said)
    if code and lacking:
        folder = Path(lacking[1])
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        code, said = run(ask)
    return "" if code else said


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"file": {"type": "str", "default": ""}}, supports_check_mode=True)
    client, port, owner = session(os.getpid())
    there = Path(_SSHD).exists()
    module.exit_json(
        changed=False,
        client=client,
        port=port,
        user=pwd.getpwuid(owner).pw_name if owner >= 0 else "",
        listening=ports(settings()) if there and not port else [],
        own=written(read(module.params["file"])) if module.params["file"] else {},
        server=there,
        # Older ones tell it beside the complaint that they don't know the option.
        version=version(run([_SSHD, "-V"])[1] if there else ""),
    )


if __name__ == "__main__":
    main()
