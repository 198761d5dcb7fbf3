"""The lab as a program: ``python -m lab up|down|status|env|create|destroy|wordpress``."""

from __future__ import annotations

import argparse
import fcntl
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lab import inventory, lab, platforms, targets, wordpress
from lab.base import STATE, LabError, say

LOCK = STATE.parent / "lab.lock"


@contextmanager
def locked() -> Iterator[None]:
    """Let one call at a time change the lab."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = result.add_subparsers(dest="command", required=True)
    known = ", ".join(platforms.names())

    up = commands.add_parser("up", help="make a target and write the inventory of it")
    up.add_argument("--platform", default=platforms.DEFAULT, help=f"one of: {known}")
    up.add_argument("--name", default=lab.NAME, help="the target's name (default: %(default)s)")
    up.add_argument("--groups", default=",".join(inventory.GROUPS), help="groups, comma-separated")
    up.add_argument("--provider", choices=["compose", "native"], help="slipway_provider")

    commands.add_parser("down", help="remove all the lab made on this machine")

    status = commands.add_parser("status", help="tell whether the target answers (exit code 0)")
    status.add_argument("--name", default=lab.NAME, help="the target's name (default: %(default)s)")
    status.add_argument("--quiet", action="store_true", help="say nothing")

    commands.add_parser("env", help="print where inventory and summary of the targets are, for a shell to read")

    create = commands.add_parser("create", help="make a target that no inventory names; print it")
    create.add_argument("name")
    create.add_argument("--platform", default=platforms.DEFAULT, help=f"one of: {known}")

    commands.add_parser("destroy", help="remove one target").add_argument("name")

    archive = commands.add_parser("wordpress", help="make an archive of WordPress; print it")
    archive.add_argument("series", help="like 7.1 or 6.8")
    return result


def status(name: str, quiet: bool) -> int:
    """Return 0 if the target of this name answers by ssh, else 1; say which unless ``quiet``."""
    found = targets.find(name)
    up = found is not None and targets.answers(found)
    if not quiet:
        for target in targets.known():
            answer = "answers" if targets.answers(target) else "does not answer"
            print(f"{target.name}: {target.platform}, {target.address}, {answer}")
        if found is None:
            print(f"{name}: not there")
    return 0 if up else 1


def environment() -> int:
    """Print where programs find the targets, in lines that a shell can evaluate; return 1 where there is none."""
    if not inventory.PATH.is_file():
        say("there is no target: run `make up`")
        return 1
    print(f"SLIPWAY_INVENTORY={shlex.quote(str(inventory.FOLDER))}")
    print(f"SLIPWAY_SUMMARY={shlex.quote(str(inventory.SUMMARY))}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "status":
            return status(given.name, given.quiet)
        if given.command == "env":
            return environment()
        with locked():
            if given.command == "up":
                groups = tuple(group for group in given.groups.split(",") if group)
                lab.up(given.name, given.platform, groups, given.provider)
            elif given.command == "down":
                lab.down()
            elif given.command == "create":
                target = targets.create(given.name, given.platform)
                print(json.dumps(targets.describe(target)))
            elif given.command == "destroy":
                lab.destroy(given.name)
            else:
                print(json.dumps(wordpress.archive(given.series).variables()))
    except LabError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
