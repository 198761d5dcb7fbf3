"""Run Molecule's scenarios on the lab's platforms, and print how long each took.

    python -m tools.scenarios [--role ROLE ...] [--platform PLATFORM ...] [--provider PROVIDER]
                              [--jobs N] [--fresh] [--keep]

Scenarios of one provider and platform share a target, one after the other, in the order of what they need; ``site``
gets one of its own, and so does the one after a failure; with ``--fresh`` each does. With ``--jobs 2`` two targets are
worked on at a time; where there is but one, its scenarios are divided between two. What is left out is printed with its
reason. The exit code is 1 if a scenario fails. Logs lie in .slipway/molecule/.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from lab import platforms, targets
from lab.base import LabError

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "molecule"
STATE = ROOT / ".slipway" / "molecule"
BIN = Path(sys.executable).parent
# What needs less comes first: what it leaves on a shared target is there for the next.
ORDER = (
    "host_baseline",
    "host_kernel",
    "host_time",
    "host_updates",
    "docker_engine",
    "container_stack",
    "service_unit",
    "tls_certificate",
    "redis_cache",
    "mariadb",
    "php_fpm_wordpress",
    "static_site",
    "nginx_tls",
    "ftp",
    "host_ssh",
    # It closes the ports of all others.
    "host_firewall",
    "site",
)
# What can't be run where: scenario and platform (patterns), and why.
LEFT_OUT = ((r".*_compose|docker_engine", "debian12-systemd", "Debian 12 has no Compose 2 in its archive"),)
STEPS = ("create", "prepare", "converge", "idempotence", "check", "repair", "verify", "destroy")
# Seconds for one scenario, which takes a minute or two; one that hangs must not hold up the rest.
TIMEOUT = 1800
# Seconds until what doesn't end when it is asked is killed.
PATIENCE = 5
# Lines of a failed scenario's log that are shown.
SHOWN = 40
_STEP = re.compile(r"\[\w+ > (\w+)\] Executing\s*$")
# In colour, whatever the environment says.
_FAILED = re.compile(r"\[\w+ > \w+\] \S*Executed: Failed")
_MISSING = re.compile(r"Executed: Missing")


@dataclass
class Job:
    """One scenario on one platform. ``seconds`` are by step; ``failed`` names the step that failed.

    ``lane`` tells targets of one provider and platform apart: nothing for the first, then 2, 3, ...
    """

    scenario: str
    platform: str
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    lane: str = ""

    @property
    def role(self) -> str:
        """Return the role, or ``site``."""
        return self.scenario.removesuffix("_compose")

    @property
    def provider(self) -> str:
        """Return the provider."""
        return "compose" if self.scenario.endswith("_compose") else "native"

    @property
    def target(self) -> str:
        """Return the name of its target, as molecule/shared/vars/scenario.yml makes it."""
        return f"molecule-{self.provider}{self.lane}-{self.platform}"

    @property
    def log(self) -> Path:
        """Return where its output goes."""
        return STATE / "logs" / f"{self.scenario}-{self.platform}.log"

    @property
    def total(self) -> float:
        """Return the seconds of all steps."""
        return sum(self.seconds.values())


def scenarios() -> list[str]:
    """Return the names of all scenarios, what needs less first."""
    names = [path.parent.name for path in SCENARIOS.glob("*/molecule.yml")]
    return sorted(names, key=lambda name: (ORDER.index(name.removesuffix("_compose")), name))


def why_not(scenario: str, platform: str) -> str:
    """Return why a scenario can't be run on a platform, or nothing if it can."""
    for pattern, where, reason in LEFT_OUT:
        if re.fullmatch(pattern, scenario) and re.fullmatch(where, platform):
            return reason
    return ""


def plan(
    roles: Sequence[str], chosen: Sequence[str], provider: str = ""
) -> tuple[list[Job], list[tuple[str, str, str]]]:
    """Return what is run, and what isn't: scenario, platform, reason. ``roles`` or ``provider`` empty means all.

    A role's name stands for its scenarios, a scenario's for itself. Raises :class:`LabError` for an unknown name.
    """
    known = scenarios()
    unknown = [name for name in roles if name not in known and f"{name}_compose" not in known]
    if unknown:
        names = ", ".join(sorted({name.removesuffix("_compose") for name in known}))
        raise LabError(f"no scenario of {', '.join(unknown)}; there are: {names}")
    wanted = [name for name in known if not roles or name in roles or name.removesuffix("_compose") in roles]
    jobs, left_out = [], []
    for scenario in known:
        for platform in platforms.PLATFORMS:
            if platform not in chosen:
                left_out.append((scenario, platform, "PLATFORM doesn't name it"))
            elif scenario not in wanted:
                left_out.append((scenario, platform, "ROLE doesn't name it"))
            elif provider and Job(scenario, platform).provider != provider:
                left_out.append((scenario, platform, "PROVIDER is the other one"))
            elif reason := why_not(scenario, platform):
                left_out.append((scenario, platform, reason))
            else:
                jobs.append(Job(scenario, platform))
    return jobs, left_out


def divide(jobs: Sequence[Job], lanes: int) -> list[list[Job]]:
    """Return the scenarios by target: of one provider and platform, or a part of those if there are fewer than lanes.

    The parts are of one length, and keep the order.
    """
    ordered = sorted(jobs, key=lambda job: job.target)
    groups = [list(group) for _, group in groupby(ordered, key=lambda job: job.target)]
    parts = max(1, lanes // max(1, len(groups)))
    result = []
    for group in groups:
        size = -(-len(group) // parts)
        for number, start in enumerate(range(0, len(group), size), 1):
            part = group[start : start + size]
            for job in part:
                job.lane = str(number) if number > 1 else ""
            result.append(part)
    return result


def step_of(name: str, before: str) -> str:
    """Return a step's name for the table: both of Molecule's side effects are ours."""
    if name == "side_effect":
        return "repair" if before == "check" else "check"
    return name


# What runs now, each in a process group of its own.
_running: set[subprocess.Popen[str]] = set()


def _end(process: subprocess.Popen[str]) -> None:
    """End a command with all it started, which would keep its output open.

    Ansible's workers are in groups of their own, so Ansible is asked first, and ends them.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)


def follow(
    command: Sequence[str], environment: dict[str, str], log: Path, tell: Callable[[str], None], timeout: float
) -> int | None:
    """Run a command, its output into a log and line by line to ``tell``; return its exit code.

    None if it was not done after ``timeout`` seconds: it is ended then, whether it printed anything or not.
    """
    late = threading.Event()

    def give_up(process: subprocess.Popen[str]) -> None:
        late.set()
        _end(process)

    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        _running.add(process)
        timer = threading.Timer(timeout, give_up, [process])
        timer.start()
        try:
            assert process.stdout is not None  # noqa: S101 - what PIPE gives
            for line in process.stdout:
                file.write(line)
                file.flush()
                tell(line)
            code = process.wait()
        finally:
            timer.cancel()
            _running.discard(process)
            if process.poll() is None:
                _end(process)
    return None if late.is_set() else code


class Progress:
    """Reads Molecule's output: when each step of a scenario began, and which one failed."""

    def __init__(self, job: Job) -> None:
        """Begin with the first step; its times go to ``job.seconds``."""
        self.job = job
        self.step = STEPS[0]
        self.began = time.monotonic()
        self.failed = ""
        self.missing = False

    def read(self, line: str) -> None:
        """Take in a line."""
        self.missing = self.missing or bool(_MISSING.search(line))
        # After a failure Molecule goes on to the last step, which removes the target.
        if _FAILED.search(line):
            self.failed = self.failed or self.step
        if found := _STEP.search(line):
            self.enter(step_of(found[1], self.step))

    def enter(self, step: str) -> None:
        """End the step that ran, and begin another one."""
        now = time.monotonic()
        self.job.seconds[self.step] = self.job.seconds.get(self.step, 0.0) + now - self.began
        self.step, self.began = step, now


def run(job: Job, last: bool = False) -> None:
    """Run one scenario; write down its steps' times and where it failed. The ``last`` one removes the target."""
    ephemeral = STATE / "runs" / f"{job.scenario}-{job.platform}"
    # What a run before it left would let Molecule skip steps.
    shutil.rmtree(ephemeral, ignore_errors=True)
    ephemeral.mkdir(parents=True)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "MOLECULE_PLATFORM": job.platform,
        "MOLECULE_LANE": job.lane,
        "MOLECULE_EPHEMERAL_DIRECTORY": str(ephemeral),
        "MOLECULE_COMMAND_BORDERS": "false",
        "PY_COLORS": "0",
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }
    base = ROOT / ".config" / "molecule" / "config.yml"
    command = [str(BIN / "molecule"), "--base-config", str(base), "test"]
    command += ["--destroy", "always" if last else "never", "-s", job.scenario]
    progress = Progress(job)
    code = follow(command, environment, job.log, progress.read, TIMEOUT)
    step = progress.step
    progress.enter("")
    if code is None:
        job.failed = f"{step}, not done after {TIMEOUT} s"
    elif code:
        job.failed = progress.failed or step
    elif progress.missing:
        # Molecule goes on where a playbook isn't there.
        job.failed = "a playbook is missing"
    elif last and targets.find(job.target):
        job.failed = "destroy, the target is still there"


def destroy(target: str) -> None:
    """Remove a target, and what the controller kept for it."""
    subprocess.run([sys.executable, "-m", "lab", "destroy", target], cwd=ROOT, check=True)
    shutil.rmtree(STATE / target, ignore_errors=True)


def work(jobs: Sequence[Job], fresh: bool, keep: bool, stopped: threading.Event) -> None:
    """Run the scenarios of one target, one after the other, until all are done or it is stopped."""
    for number, job in enumerate(jobs):
        if stopped.is_set():
            break
        # What a failure left could make the next one fail as well. And the whole begins with a fresh host, as at a
        # user's; what the roles' scenarios left is no such host.
        if number == 0 or fresh or job.role == "site" or jobs[number - 1].failed:
            destroy(job.target)
        print(f"{job.scenario} on {job.platform} ...", flush=True)
        run(job, last=job is jobs[-1] and not keep)
        print(f"{job.scenario} on {job.platform}: {outcome(job)}, {job.total:.0f} s", flush=True)
        if job.failed:
            print("\n".join(f"    {line}" for line in why(job)) + f"\n    (all of it: {job.log})", flush=True)
    if not keep:
        destroy(jobs[-1].target)


def why(job: Job) -> list[str]:
    """Return the last lines of a log before the step ended that failed; what removed the target comes after them."""
    lines = job.log.read_text(errors="replace").splitlines()
    end = next((number for number, line in enumerate(lines, 1) if _FAILED.search(line)), len(lines))
    return lines[max(0, end - SHOWN) : end]


def outcome(job: Job) -> str:
    """Return in a word or two how a scenario ended."""
    return f"FAILED: {job.failed}" if job.failed else "ok" if job.seconds else "not run"


def table(jobs: Sequence[Job]) -> str:
    """Return the times of each scenario, in seconds, as a table."""
    steps = [step for step in STEPS if any(round(job.seconds.get(step, 0.0)) for job in jobs)]
    rows = [["scenario", "platform", *steps, "total", "outcome"]]
    for job in jobs:
        times = [f"{job.seconds[step]:.0f}" if step in job.seconds else "" for step in steps]
        rows.append([job.scenario, job.platform, *times, f"{job.total:.0f}", outcome(job)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = range(2, len(widths) - 1)
    return "\n".join(
        "  ".join(
            cell.rjust(widths[index]) if index in numbers else cell.ljust(widths[index])
            for index, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


def omissions(left_out: Sequence[tuple[str, str, str]]) -> str:
    """Return what was left out and why, a line for each reason and platform."""
    lines = []
    ordered = sorted(left_out, key=lambda entry: (entry[2], entry[1]))
    for (reason, platform), entries in groupby(ordered, key=lambda entry: (entry[2], entry[1])):
        names = [name for name, _, _ in entries]
        what = "all scenarios" if len(names) == len(scenarios()) else ", ".join(names)
        lines.append(f"left out on {platform}: {what} ({reason})")
    return "\n".join(lines)


def words(values: Sequence[str]) -> list[str]:
    """Return the words of all values, split at spaces and commas."""
    return [word for value in values for word in re.split(r"[,\s]+", value) if word]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", action="append", default=[], help="a role's or scenario's name; all by default")
    parser.add_argument(
        "--platform", action="append", default=[], help=f"all, or some of: {', '.join(platforms.names())}"
    )
    parser.add_argument("--provider", choices=["compose", "native"], default="", help="both by default")
    parser.add_argument("--jobs", type=int, default=1, help="targets worked on at a time (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="give each scenario a target of its own")
    parser.add_argument("--keep", action="store_true", help="leave the targets there")
    parser.add_argument("--list", action="store_true", help="only say what would be run and what is left out")
    given = parser.parse_args(arguments)
    named = words(given.platform) or [platforms.DEFAULT]
    try:
        chosen = list(platforms.PLATFORMS) if named == ["all"] else [platforms.find(name).name for name in named]
        jobs, left_out = plan(words(given.role), chosen, given.provider)
    except LabError as error:
        parser.error(str(error))
    if given.list:
        print("\n".join(f"{job.scenario} on {job.platform}" for job in jobs))
        print(omissions(left_out))
        return 0
    if not jobs:
        parser.error("nothing is left to run:\n" + omissions(left_out))
    groups = divide(jobs, given.jobs)
    began = time.monotonic()
    stopped = threading.Event()
    with ThreadPoolExecutor(given.jobs) as pool:
        try:
            for done in [pool.submit(work, group, given.fresh, given.keep, stopped) for group in groups]:
                done.result()
        except KeyboardInterrupt:
            # Molecule is in a group of its own, which Ctrl-C doesn't reach; the scenarios after it must not begin.
            stopped.set()
            for process in list(_running):
                _end(process)
    print(f"\n{table(jobs)}\n{omissions(left_out)}\n{len(jobs)} in {time.monotonic() - began:.0f} s", flush=True)
    return 1 if any(job.failed or not job.seconds for job in jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
