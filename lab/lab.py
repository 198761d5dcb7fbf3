"""The lab as a whole: what `up` and `down` do."""

from __future__ import annotations

import shutil

from lab import engine, images, inventory, targets, vm, wordpress
from lab.base import LABEL, STATE, LabError, say
from lab.engine import docker

# The target of the quick start.
NAME = "lab"
# How what the engine holds is found and removed: users of a thing before the thing.
REMOVALS = (
    (("ps", "--all"), ("rm", "--force", "--volumes")),
    (("volume", "ls"), ("volume", "rm", "--force")),
    (("network", "ls"), ("network", "rm")),
    (("image", "ls", "--all"), ("image", "rm", "--force")),
)


def up(name: str, platform: str, groups: tuple[str, ...], provider: str | None) -> None:
    """Make a target, or bring it up again, and write the inventory.

    ``provider`` None leaves it as an earlier call chose, or else to the playbooks.
    """
    unknown = sorted(set(groups) - set(inventory.GROUPS))
    if unknown or not groups:
        names = ", ".join(inventory.GROUPS)
        raise LabError(f"--groups: {', '.join(unknown) or 'none'} given; there are: {names}")
    target = targets.create(name, platform, groups)
    provider = provider or inventory.variables().get("slipway_provider")
    variables = wordpress.variables()
    if provider:
        variables["slipway_provider"] = provider
    inventory.write(variables)
    say(f"target {name} ({target.platform}) answers at {target.address}: {inventory.FOLDER}")


def destroy(name: str) -> None:
    """Remove a target, also from the inventory."""
    targets.destroy(name)
    inventory.write(inventory.variables())


def down() -> None:
    """Remove everything the lab made on this machine; stop the engine if the lab started it."""
    up = engine.answers()
    if up:
        engine.refuse_foreign()
    vm.destroy_all()
    for target in targets.known():
        targets.destroy(target.name)
    if up:
        own = ("--quiet", "--filter", f"label={LABEL}")
        for find, remove in REMOVALS:
            found = list(dict.fromkeys(docker(*find, *own).split()))
            if found:
                docker(*remove, *found)
        if images.PULLED.exists():
            docker("image", "rm", *images.PULLED.read_text().split(), check=False)
        engine.stop()
    inventory.remove()
    if engine.our_pid() is None:
        shutil.rmtree(STATE, ignore_errors=True)
        say("all gone")
        return
    # Its process id stays known, so that a later `down` stops it.
    for path in STATE.iterdir() if STATE.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in {engine.PID_FILE, engine.LOG_FILE}:
            path.unlink()
    say("all gone but the engine, which others use")
