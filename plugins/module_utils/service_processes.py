"""Commands, processes and listeners of a host, as its /proc tells them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from .service_files import read

# How many of a log's last lines a message has.
LOG_LINES = 8


def run(argv: list[str], timeout: int = 60) -> tuple[int, str]:
    """Run a command and return its code and all it printed; 124 when it took longer than ``timeout`` seconds.

    The output goes to a file: a daemon that keeps its starter's pipe open would hold up a reader for ever.
    """
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    with tempfile.TemporaryFile() as out:
        try:
            code = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                cwd="/",
                start_new_session=True,
                timeout=timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
        except OSError as err:
            return 127, f"{argv[0]}: {err.strerror}"
        out.seek(0)
        return code, out.read().decode(errors="replace")


def one_line(text: str) -> str:
    """Join the last lines of a text, each once, without the colours of a terminal."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = list(dict.fromkeys(line.strip() for line in plain.splitlines() if line.strip()))
    return " | ".join(lines[-LOG_LINES:])


# -- processes -----------------------------------------------------------------------------------------------------


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on (field 3 of proc(5)), or nothing when it is gone."""
    text = read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if ")" in text else []


def alive(pid: int) -> bool:
    """Say whether the process exists and is no zombie."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def age(pid: int) -> float:
    """Return the seconds since the process started; 0 when it is gone. Clock steps don't matter."""
    fields = stat_fields(pid)
    if not fields:
        return 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / ticks)


def all_pids() -> list[int]:
    """Return the ids of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def descendants(root: int) -> set[int]:
    """Return the process and all its living children, theirs included."""
    parents = {}
    for pid in all_pids():
        fields = stat_fields(pid)
        if fields:
            parents[pid] = int(fields[1])
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


# -- listeners -----------------------------------------------------------------------------------------------------


def port_inodes(port: int, tables: Iterable[str]) -> set[str]:
    """Return the inodes of the TCP sockets that listen on ``port``, from /proc/net/tcp's text (proc_net_tcp.rst)."""
    found = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            # Local address, state 0A is LISTEN, inode.
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def socket_inodes(path: str, table: str) -> set[str]:
    """Return the inodes of the Unix sockets that listen at ``path``, from /proc/net/unix's text.

    The table holds the path as the daemon spelled it: /var/run is /run.
    """

    def plain(name: str) -> str:
        return name[4:] if name.startswith("/var/run/") else name

    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split(None, 7)
        # The flag 00010000 is __SO_ACCEPTCON: it listens.
        if fields[3] == "00010000" and plain(fields[-1].strip()) == plain(path):
            found.add(fields[6])
    return found


def open_files(pid: int) -> list[str]:
    """Return what the process's file descriptors point to; nothing when it is gone."""
    links = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(entry.readlink()))
    return links


def holders(inodes: set[str], pids: Iterable[int]) -> set[int]:
    """Return which of the processes hold one of the sockets."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return {pid for pid in pids if any(link in wanted for link in open_files(pid))}
