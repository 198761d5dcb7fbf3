"""Plant faults, one at a time, and prove that each is caught: ``python -m tests.mutations``.

Each fault goes into a copy of the repository, never into the working tree. Its check must be green without the fault,
and with it the test or step that it names must fail; anything else is no catch: a check that skips, a fixture that
fails, another test or step. ``--fast`` leaves out those that need a target.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.faults import FAULTS, Fault, Pytest, Scenario
from tests.repository import COLLECTION, ROOT, files
from tools import scenarios

STATE = ROOT / ".slipway" / "mutations"
PLATFORM = "debian13-systemd"


@dataclass(frozen=True)
class Verdict:
    """What became of a check: ``green``, ``red``, or what else; ``seconds`` it took."""

    word: str
    seconds: float


@contextmanager
def copy() -> Iterator[Path]:
    """Yield a copy of what git tracks or would track, with the parsers that were made for this tree."""
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE) as name:
        folder = Path(name)
        for path in files():
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        # By which Ansible finds the copy as the collection.
        link = folder / COLLECTION.relative_to(ROOT)
        link.parent.mkdir(parents=True)
        link.symlink_to(COLLECTION.readlink())
        (folder / ".slipway").mkdir()
        if (ROOT / ".slipway/parsers").exists():
            (folder / ".slipway/parsers").symlink_to(ROOT / ".slipway/parsers")
        yield folder


@contextmanager
def planted(fault: Fault, folder: Path) -> Iterator[None]:
    """Plant a fault meanwhile. Raises ValueError if the text it changes isn't there exactly once."""
    path = folder / fault.path
    before = path.read_text(encoding="utf-8")
    if fault.old and before.count(fault.old) != 1:
        raise ValueError(f"{fault.path} has {before.count(fault.old)} times {fault.old!r}: renew the fault")
    if fault.old:
        path.write_text(before.replace(fault.old, fault.new), encoding="utf-8")
    else:
        path.unlink()
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def outcomes(output: str, test: str) -> set[str]:
    """Return what pytest's summary says of a test, whatever its parameters: PASSED, FAILED, ERROR."""
    line = re.compile(rf"^(PASSED|FAILED|ERROR) (?:\S*/)?{re.escape(test)}(?:\[[^\]]*\])?(?: - .*)?$", re.MULTILINE)
    return set(line.findall(output))


def run_pytest(check: Pytest, folder: Path, log: Path) -> Verdict:
    """Run a test in the copy."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-rpfE", "-p", "no:cacheprovider", check.test]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    said = outcomes(done.stdout, check.test)
    # A test that only skipped says nothing, and neither does one whose fixture failed.
    word = "green" if said == {"PASSED"} else "red" if said == {"FAILED"} else "nothing tested"
    return Verdict(word, time.monotonic() - began)


def said_last(log: str) -> str:
    """Return what Molecule said in its last step: what an earlier one had to see fail is no catch."""
    return re.split(r"\[\w+ > \w+\] Executing\n", log)[-1]


def run_scenario(check: Scenario, folder: Path, log: Path) -> Verdict:
    """Run a scenario with the roles of the copy, on a fresh target of this tree's lab; say at which step it failed."""
    job = scenarios.Job(check.name, PLATFORM)
    # What the run without the fault left would hide it.
    scenarios.destroy(job.target)
    # Before the paths that ansible.cfg names.
    paths = {
        "ANSIBLE_ROLES_PATH": folder / "roles",
        "ANSIBLE_LIBRARY": folder / "plugins/modules",
        # For the filters.
        "ANSIBLE_COLLECTIONS_PATH": folder / ".collections",
    }
    os.environ |= {name: str(path) for name, path in paths.items()}
    try:
        scenarios.run(job)
    finally:
        for name in paths:
            del os.environ[name]
    shutil.copy2(job.log, log)
    word = "green" if not job.failed else f"red at {job.failed}"
    if job.failed == check.step:
        text = said_last(log.read_text(encoding="utf-8", errors="replace"))
        said = "FAILED" in outcomes(text, check.test) if check.step == "verify" else check.says in text
        word = "red" if said else f"red at {job.failed}, of something else"
    return Verdict(word, job.total)


def run(check: Pytest | Scenario, folder: Path, log: Path) -> Verdict:
    """Run a check against the copy."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return run_pytest(check, folder, log) if isinstance(check, Pytest) else run_scenario(check, folder, log)


def chosen(words: Sequence[str], fast: bool) -> list[Fault]:
    """Return the faults whose name holds one of the words (none: all), without those that need a target if ``fast``."""
    named = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    return [fault for fault in named if not (fast and isinstance(fault.check, Scenario))]


def prove(faults: Sequence[Fault], folder: Path) -> list[tuple[Fault, Verdict, Verdict]]:
    """Return for each fault what its check said before and with it."""
    # All of these first: what was rendered of the tree as it is serves them all.
    before: dict[str, Verdict] = {}
    for number, fault in enumerate(faults):
        if key(fault.check) not in before:
            before[key(fault.check)] = run(fault.check, folder, STATE / "logs" / f"{number:02}-before.log")
    results = []
    for number, fault in enumerate(faults):
        without = before[key(fault.check)]
        with planted(fault, folder):
            after = run(fault.check, folder, STATE / "logs" / f"{number:02}-with.log")
        print(f"{fault.name}: {without.word}, with it {after.word} ({after.seconds:.0f} s)", flush=True)
        results.append((fault, without, after))
    return results


def key(check: Pytest | Scenario) -> str:
    """Return what tells apart the runs without a fault; the steps of a scenario are one run."""
    return check.name if isinstance(check, Scenario) else check.test


def table(results: Sequence[tuple[Fault, Verdict, Verdict]]) -> str:
    """Return the outcome of each fault, a line each."""
    rows = [("fault", "check", "before", "with it", "seconds")]
    rows += [
        (fault.name, str(fault.check), before.word, after.word, f"{after.seconds:.0f}")
        for fault, before, after in results
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant what was asked for; return 0 if everything was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="a part of a fault's name; all by default")
    parser.add_argument("--fast", action="store_true", help="leave out the faults that need a target")
    given = parser.parse_args(arguments)
    faults = chosen(given.words, given.fast)
    if not faults:
        parser.error("no fault has such a name")
    targets = {scenarios.Job(one.check.name, PLATFORM).target for one in faults if isinstance(one.check, Scenario)}
    try:
        with copy() as folder:
            results = prove(faults, folder)
    finally:
        for target in targets:
            scenarios.destroy(target)
    print(f"\n{table(results)}")
    caught = sum(before.word == "green" and after.word == "red" for _, before, after in results)
    print(f"{caught} of {len(results)} caught; logs: {STATE / 'logs'}")
    if len(faults) < len(FAULTS):
        print(f"left out: {', '.join(fault.name for fault in FAULTS if fault not in faults)}")
    return 0 if caught == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
