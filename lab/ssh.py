"""Keys: one to log in with, made once; a host key for each target, pinned before it starts."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab.base import STATE, install, run
from lab.platforms import USER

KEY = STATE / "id_ed25519"
KNOWN_HOSTS = STATE / "known_hosts"


def make_key(path: Path, comment: str) -> None:
    """Make an Ed25519 key without passphrase unless there is one."""
    if path.exists():
        return
    install("openssh-client", program="ssh-keygen")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)


def public(path: Path) -> str:
    """Return the public half of a key, as one line."""
    return path.with_name(path.name + ".pub").read_text().strip()


def pinned(known_hosts: str, address: str, key: str | None) -> str:
    """Return the text of a known_hosts file in which ``address`` has this key, or none."""
    lines = [line for line in known_hosts.splitlines() if line.split(" ")[0] != address]
    if key:
        lines.append(f"{address} {' '.join(key.split()[:2])}")
    return "".join(f"{line}\n" for line in lines)


def pin(address: str, key: str | None) -> None:
    """Pin a target's host key, or forget it (None)."""
    old = KNOWN_HOSTS.read_text() if KNOWN_HOSTS.exists() else ""
    KNOWN_HOSTS.write_text(pinned(old, address, key))


def options() -> list[str]:
    """Return the ssh options that hold for every target."""
    return [
        *("-o", f"UserKnownHostsFile={KNOWN_HOSTS}"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "IdentitiesOnly=yes"),
        # A shared connection must not outlive its target, whose address the next one gets.
        *("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"),
    ]


def common_args() -> str:
    """Return :func:`options` as one string, quoted for Ansible."""
    return shlex.join(options())


def command(address: str, line: str, timeout: int = 5) -> list[str]:
    """Return the words that run a shell line on a target; ``timeout`` (seconds) is for connecting."""
    batch = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={timeout}"]
    return ["ssh", "-F", "none", "-i", str(KEY), *options(), *batch, f"{USER}@{address}", line]
