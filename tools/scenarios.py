"""Run Molecule's scenarios on the lab's platforms, and print how long each took.

    python -m tools.scenarios [--role ROLE ...] [--platform PLATFORM ...] [--provider PROVIDER]
                              [--jobs N] [--fresh] [--keep]

Scenarios of one provider and platform share a target, one after the other, in the order of what they need; ``site``
gets one of its own, and with ``--fresh`` each does. With ``--jobs 2`` two targets are worked on at a time. What is left
out is printed with its reason. The exit code is 1 if a scenario fails. Logs lie in .slipway/molecule/.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from lab import platforms
from lab.base import LabError

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "molecule"
STATE = ROOT / ".slipway" / "molecule"
BIN = Path(sys.executable).parent
# What needs less comes first: what it leaves on a shared target is there for the next.
ORDER = (
    "host_baseline",
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
    "site",
)
# What can't be run where: scenario and platform (patterns), and why.
LEFT_OUT = ((r".*_compose|docker_engine", "debian12-systemd", "Debian 12 has no Compose 2 in its archive"),)
STEPS = ("create", "prepare", "converge", "idempotence", "check", "repair", "verify", "destroy")
# A scenario takes a minute or two; one that hangs must not hold up the rest.
TIMEOUT = 1800
# Lines of a failed scenario's log that are shown.
SHOWN = 40
_STEP = re.compile(r"\[\w+ > (\w+)\] Executing\s*$")
_MISSING = re.compile(r"Executed: Missing")


@dataclass
class Job:
    """One scenario on one platform. ``seconds`` are by step; ``failed`` names the step that failed."""

    scenario: str
    platform: str
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str = ""

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
        """Return the name of its target, as molecule/shared/scenario.yml makes it."""
        return f"molecule-{self.provider}-{self.platform}"

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


def step_of(name: str, before: str) -> str:
    """Return a step's name for the table: both of Molecule's side effects are ours."""
    if name == "side_effect":
        return "repair" if before == "check" else "check"
    return name


def run(job: Job) -> None:
    """Run one scenario; write down its steps' times and where it failed."""
    ephemeral = STATE / "runs" / f"{job.scenario}-{job.platform}"
    # What a run before it left would let Molecule skip steps.
    shutil.rmtree(ephemeral, ignore_errors=True)
    ephemeral.mkdir(parents=True)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "MOLECULE_PLATFORM": job.platform,
        "MOLECULE_EPHEMERAL_DIRECTORY": str(ephemeral),
        "MOLECULE_COMMAND_BORDERS": "false",
        "PY_COLORS": "0",
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }
    base = ROOT / ".config" / "molecule" / "config.yml"
    command = [str(BIN / "molecule"), "--base-config", str(base), "test", "--destroy", "never", "-s", job.scenario]
    with job.log.open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None  # noqa: S101 - what PIPE gives
        step, began, missing = "create", time.monotonic(), False
        end = began + TIMEOUT
        for line in process.stdout:
            log.write(line)
            log.flush()
            missing = missing or bool(_MISSING.search(line))
            now = time.monotonic()
            if now > end:
                process.kill()
            if found := _STEP.search(line):
                job.seconds[step] = job.seconds.get(step, 0.0) + now - began
                step, began = step_of(found[1], step), now
        code = process.wait()
        job.seconds[step] = job.seconds.get(step, 0.0) + time.monotonic() - began
    # Molecule goes on where a playbook isn't there.
    job.failed = step if code else "a playbook is missing" if missing else ""


def destroy(target: str) -> None:
    """Remove a target, and what the controller kept for it."""
    subprocess.run([sys.executable, "-m", "lab", "destroy", target], cwd=ROOT, check=True)
    shutil.rmtree(STATE / target, ignore_errors=True)


def work(jobs: Sequence[Job], fresh: bool, keep: bool, stopped: threading.Event) -> None:
    """Run the scenarios of one target, one after the other, until all are done or it is stopped."""
    for number, job in enumerate(jobs):
        if stopped.is_set():
            break
        # The whole begins with a fresh host, as at a user's; what the roles' scenarios left is no such host.
        if number == 0 or fresh or job.role == "site":
            destroy(job.target)
        print(f"{job.scenario} on {job.platform} ...", flush=True)
        run(job)
        print(f"{job.scenario} on {job.platform}: {outcome(job)}, {job.total:.0f} s", flush=True)
        if job.failed:
            tail = job.log.read_text(errors="replace").splitlines()[-SHOWN:]
            print("\n".join(f"    {line}" for line in tail) + f"\n    (all of it: {job.log})", flush=True)
    if not keep:
        destroy(jobs[-1].target)


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
    targets = [
        list(group) for _, group in groupby(sorted(jobs, key=lambda job: job.target), key=lambda job: job.target)
    ]
    began = time.monotonic()
    stopped = threading.Event()
    with ThreadPoolExecutor(given.jobs) as pool:
        try:
            for done in [pool.submit(work, group, given.fresh, given.keep, stopped) for group in targets]:
                done.result()
        except KeyboardInterrupt:
            # Ctrl-C reaches Molecule as well; the scenarios after it must not begin.
            stopped.set()
    print(f"\n{table(jobs)}\n{omissions(left_out)}\n{len(jobs)} in {time.monotonic() - began:.0f} s", flush=True)
    return 1 if any(job.failed or not job.seconds for job in jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
