"""What all parts of the lab share: its places, its names, its one error and how it runs programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Everything the lab keeps between two calls; `down` removes it.
STATE = ROOT / ".slipway" / "lab"
# Starts the name of every container, volume, network and image. A second checkout on one engine needs another.
PREFIX = os.environ.get("SLIPWAY_LAB_PREFIX", "slipway")
# Marks what belongs to this lab, so that `down` finds it all and nothing else.
LABEL = f"slipway.lab={PREFIX}"
# Tells which checkout a container is of.
ROOT_LABEL = "slipway.lab.root"


class LabError(Exception):
    """What the lab can't do, in one line for the user."""


def say(message: str) -> None:
    """Tell the user what is going on, on stderr: stdout is for results."""
    print(f"lab: {message}", file=sys.stderr, flush=True)


def run(
    *command: str | Path,
    stdin: str | bytes | None = None,
    timeout: float = 900,
    check: bool = True,
) -> str:
    """Run a program and return what it printed, stripped.

    ``timeout`` is in seconds. Raises :class:`LabError` with the program's last line if it fails and ``check`` is on,
    if it takes too long, or if there is no such program.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(words[:3])} did not end within {timeout:.0f} s") from None
    output = done.stdout.decode(errors="replace").strip()
    if check and done.returncode:
        lines = (done.stderr.decode(errors="replace").strip() or output or "no message").splitlines()
        raise LabError(f"{' '.join(words[:3])} failed ({done.returncode}): {lines[-1]}")
    return output


def succeeds(*command: str | Path, timeout: float = 60) -> bool:
    """Tell whether a program runs and ends well within ``timeout`` seconds."""
    try:
        run(*command, timeout=timeout)
    except LabError:
        return False
    return True


def wait_for(what: str, condition: Callable[[], bool], timeout: float, pause: float = 0.2) -> None:
    """Wait until ``condition`` holds; raise :class:`LabError` after ``timeout`` seconds. ``pause`` is between tries."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what} did not happen within {timeout:.0f} s")
        time.sleep(pause)


def install(*packages: str, program: str) -> None:
    """Install Debian packages unless ``program`` is there. Raises :class:`LabError` where that can't be done."""
    if shutil.which(program):
        return
    wanted = " ".join(packages)
    if os.geteuid() or not shutil.which("apt-get"):
        raise LabError(f"{program} is missing: install it (Debian: {wanted}), or run as root on a Debian machine")
    say(f"installing {wanted}")
    env = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    run(*env, "update")
    run(*env, "install", "-y", "--no-install-recommends", *packages)
    if not shutil.which(program):
        raise LabError(f"{program} is still missing after installing {wanted}")
