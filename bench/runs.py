"""What a run that changes nothing costs, in units of 100 plain tasks on the same host in the same minute.

    python -m bench.runs [--inventory inventory] [--repeats 5] [--output FILE]

One unit is a playbook of 100 ``stat`` tasks against the same hosts by the same strategy: it measures machine, network
and strategy, so that what is left is the playbook's own. Both are run in turn, ``--repeats`` times, and the medians are
compared. Times are in seconds; processor time is that of the controller and all it starts there. Nothing is changed on
the hosts: a run that reports a change is no measurement, and ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.executable).parent / "ansible-playbook"
TASKS = 100
_RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+) +skipped=(\d+)", re.MULTILINE)


class BenchError(Exception):
    """Why there is no measurement, in one line."""


@dataclass(frozen=True)
class Cost:
    """What one run cost: seconds by the clock, seconds of the processor, and tasks that were done or skipped."""

    wall: float
    processor: float
    tasks: int


def floor(folder: Path) -> Path:
    """Write the playbook of one unit; return its path."""
    path = folder / "floor.yml"
    tasks = "".join("    - ansible.builtin.stat: {path: /etc/hostname}\n" for _ in range(TASKS))
    path.write_text(f"- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n{tasks}", encoding="utf-8")
    return path


def measure(playbook: Path, inventory: Path) -> Cost:
    """Run a playbook; return what it cost. Raises :class:`BenchError` where it fails or changes something."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(
        [PROGRAM, playbook, "-i", inventory],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    recap = [[int(number) for number in line[1:]] for line in _RECAP.findall(done.stdout)]
    if done.returncode or not recap or any(changed or away or failed for _, changed, away, failed, _ in recap):
        raise BenchError(f"{playbook.name} failed or changed something:\n{done.stdout[-2000:]}{done.stderr[-500:]}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, processor, sum(ok + skipped for ok, *_, skipped in recap))


def medians(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.processor for cost in costs),
        round(statistics.median(cost.tasks for cost in costs)),
    )


def report(unit: Cost, run: Cost, strategy: str) -> str:
    """Return the figures as a table."""
    rows = [
        ("", "seconds", "units", "processor", "tasks"),
        (f"{TASKS} stat tasks", f"{unit.wall:.1f}", "1.0", f"{unit.processor:.1f}", str(unit.tasks)),
        ("unchanged run", f"{run.wall:.1f}", f"{run.wall / unit.wall:.2f}", f"{run.processor:.1f}", str(run.tasks)),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([f"strategy {strategy}", *lines])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventory", type=Path, default=ROOT / "inventory")
    parser.add_argument("--repeats", type=int, default=5, help="how often each is run (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    given = parser.parse_args(arguments)
    strategy = os.environ.get("ANSIBLE_STRATEGY", "linear")
    units: list[Cost] = []
    runs: list[Cost] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            unit = floor(Path(folder))
            for _ in range(given.repeats):
                units.append(measure(unit, given.inventory))
                runs.append(measure(ROOT / "site.yml", given.inventory))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(report(medians(units), medians(runs), strategy))
    if given.output:
        figures = {"strategy": strategy, "units": [asdict(one) for one in units], "runs": [asdict(one) for one in runs]}
        given.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
