"""Runs of the playbook, as a user starts them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.lab_target import BIN, INVENTORY
from tests.repository import ROOT

TIMEOUT = 900  # seconds for one run
PATIENCE = 60  # seconds until Ctrl-C is pressed again
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
# What Ansible says of a run that was interrupted; the second where Ctrl-C met a worker that had just ended.
_INTERRUPTED = {
    "User interrupted execution",
    "Unexpected Exception, this is probably a bug: process object is closed",
}
# What Python prints when Ctrl-C comes while Ansible forks a worker: the interruption is lost, and the run goes on.
_LOST = "Exception ignored in:"
_ERROR = re.compile(r"^\[ERROR\]: (?:Task failed: (?:Action failed|Module failed): )?(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What a run ended in. ``output`` is what the user saw."""

    code: int
    output: str
    seconds: float
    changed: int = field(init=False)

    def __post_init__(self) -> None:
        """Read the recap; a run that was cut has none (-1)."""
        recap = _RECAP.findall(self.output)
        object.__setattr__(self, "changed", sum(int(one[1]) for one in recap) if recap else -1)

    @property
    def changes(self) -> list[str]:
        """Return the tasks that changed something, as far as the output tells."""
        found, task = [], ""
        for line in self.output.splitlines():
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                task = line.split("[", 1)[1].rsplit("]", 1)[0]
            elif line.startswith("changed:"):
                found.append(task)
        return found

    @property
    def errors(self) -> list[str]:
        """Return the lines that say why it failed; that the user stopped it is no reason."""
        found = [line.strip() for line in _ERROR.findall(self.output)]
        return [line for line in found if line not in _INTERRUPTED]


def start(
    folder: Path,
    *arguments: str,
    variables: dict[str, Any] | None = None,
    inventory: Path = INVENTORY.parent,
) -> subprocess.Popen[str]:
    """Start a run in a process group of its own; ``folder`` keeps the variables, given by ``-e @file``."""
    command = [str(BIN / "ansible-playbook"), "site.yml", "-i", str(inventory), *arguments]
    if variables is not None:
        path = folder / "variables.yml"
        path.write_text(yaml.safe_dump(variables), encoding="utf-8")
        path.chmod(0o600)
        command += ["-e", f"@{path}"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "400"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(
    process: subprocess.Popen[str],
    cut: Callable[[str], bool] | None = None,
    sign: signal.Signals = signal.SIGINT,
    timeout: float = TIMEOUT,
) -> Run:
    """Wait for the end of a run. ``cut`` is asked for each line; when it says yes the run gets the signal.

    SIGINT is what Ctrl-C sends. Raises AssertionError after ``timeout`` seconds.
    """
    began = time.monotonic()
    lines: list[str] = []
    sent = False
    assert process.stdout is not None
    timers = [_later(timeout, process, signal.SIGKILL)]
    try:
        for line in process.stdout:
            lines.append(line)
            if sent and line.startswith(_LOST):
                # The user sees that the run goes on, and presses again.
                _send(process, sign)
            elif cut and cut(line):
                sent = True
                _send(process, sign)
                # The worker that Ansible ends may hold the lock of its results; then Ansible waits for that lock until
                # it is interrupted again, which is what its user does.
                timers.append(_later(PATIENCE, process, sign))
                cut = None
        code = process.wait(60)
    finally:
        for timer in timers:
            timer.cancel()
        if process.poll() is None:
            _send(process, signal.SIGKILL)
    seconds = time.monotonic() - began
    assert seconds < timeout, f"the run took longer than {timeout} s: {''.join(lines[-3:])}"
    return Run(code, "".join(lines), seconds)


def _send(process: subprocess.Popen[str], sign: signal.Signals) -> None:
    """Send a signal to the whole group of a run, as the terminal does; to one that has ended, none."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, sign)


def _later(seconds: float, process: subprocess.Popen[str], sign: signal.Signals) -> threading.Timer:
    timer = threading.Timer(seconds, _send, (process, sign))
    timer.daemon = True
    timer.start()
    return timer


def run(folder: Path, *arguments: str, variables: dict[str, Any] | None = None) -> Run:
    """Run the playbook to its end."""
    return finish(start(folder, *arguments, variables=variables))
