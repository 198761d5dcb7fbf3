from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.killing import LIMIT
from tests.acceptance.machine import STACK, Machine
from tests.acceptance.waiting import wait_until
from tests.roles import planted_registry
from tests.roles.services import is_hardened

# Where the planted registry listens, on the target's loopback: the Engine asks a mirror there without TLS.
PORT = 5055


def inside(machine: Machine, command: str) -> str:
    return machine.run(f"cd {STACK} && docker compose exec -T probe {command}")


def test_a_service_runs_as_it_was_declared(machine: Machine) -> None:
    assert is_hardened(machine, "probe")
    assert inside(machine, "id -u") == "19009"


def test_what_is_mounted_is_what_was_declared(machine: Machine) -> None:
    assert inside(machine, "cat /etc/greeting") == "hello"


def test_its_secret_is_a_file_and_nothing_else(machine: Machine) -> None:
    secret = "a-password-of-the-tests"
    assert inside(machine, "cat /run/secrets/probe_secret") == secret
    assert machine.run(f"stat -c '%a %u' {STACK}/secrets {STACK}/secrets/probe_secret").split() == [
        *("700", "0"),
        *("400", "19009"),
    ]
    assert secret not in machine.run(f"cd {STACK} && docker inspect $(docker compose ps --quiet probe)")
    assert secret not in machine.run(f"cat {STACK}/compose.d/*.yml {STACK}/compose.yml")


def test_its_volume_is_a_folder_of_the_host(machine: Machine) -> None:
    inside(machine, "touch /data/kept")
    assert machine.run("stat -c %u /srv/slipway/volumes/probe_data/kept") == "19009"


def test_the_inner_network_leads_nowhere(machine: Machine) -> None:
    networks = json.loads(machine.run("docker network inspect slipway_backend"))
    assert networks[0]["Internal"]


def test_a_killed_container_is_back(machine: Machine) -> None:
    inspect = f"cd {STACK} && docker inspect --format '{{{{.State.Pid}}}}' $(docker compose ps --quiet probe)"
    before = machine.run(inspect)
    machine.run(f"kill -9 {before}")
    wait_until("the container is back", lambda: machine.run(inspect) not in {"0", before}, LIMIT)
    assert is_hardened(machine, "probe")


def test_a_stopped_stack_is_back_with_its_unit(machine: Machine) -> None:
    systemd = machine.service_manager == "systemd"
    for verb in ("stop", "start"):
        machine.run(f"systemctl {verb} slipway-stack" if systemd else f"rc-service slipway-stack {verb}")
        running = machine.run(f"cd {STACK} && docker compose ps --quiet probe")
        assert bool(running) == (verb == "start")
    assert is_hardened(machine, "probe")


def set_mirror(machine: Machine, mirrors: list[str]) -> None:
    """Have the Engine ask these mirrors for what it would pull of the default registry."""
    settings = json.loads(machine.run("cat /etc/docker/daemon.json"))
    settings["registry-mirrors"] = mirrors
    machine.feed("cat >/etc/docker/daemon.json", json.dumps(settings))
    machine.control_service("docker", "restart")
    wait_until("the Engine answers", lambda: machine.host.run("docker version").rc == 0, LIMIT)


@pytest.fixture
def stranger(machine: Machine) -> Iterator[Callable[[], list[str]]]:
    """Give the Engine a registry with a planted image of every name; yield what ends it and tells what was asked."""
    with machine.background(Path(planted_registry.__file__).read_text(), str(PORT)) as end:
        set_mirror(machine, [f"http://127.0.0.1:{PORT}"])
        # It does work: what is named is pulled.
        machine.run("docker pull slipway/known && docker image rm slipway/known")
        yield lambda: json.loads(end())
    set_mirror(machine, [])


def forget_images(machine: Machine) -> None:
    """Take the stack's containers and every image away, as a person does who makes room."""
    machine.stack("down")
    machine.run("docker image prune --all --force; docker builder prune --all --force")


def test_nothing_is_taken_from_a_registry(
    machine: Machine, stranger: Callable[[], list[str]], converge: Callable[..., None]
) -> None:
    ways = [
        f"cd {STACK} && docker compose up --detach",
        f"cd {STACK} && docker compose up --detach --build",
        f"cd {STACK} && docker compose up --detach --pull always",
        f"cd {STACK} && docker compose pull",
        f"cd {STACK} && docker compose build --pull",
        f"cd {STACK} && docker compose run --rm probe true",
        f"cd {STACK} && docker compose create",
    ]
    for way in [*ways, "the boot unit"]:
        forget_images(machine)
        if way in ways:
            # Without a base image there is nothing to build on, which is an error and no reason to ask a stranger.
            machine.host.run(way)
        else:
            machine.host.run(
                "systemctl restart slipway-stack"
                if machine.service_manager == "systemd"
                else "rc-service slipway-stack restart"
            )
        assert not machine.run("docker image ls --quiet --filter label=planted"), way
    forget_images(machine)
    converge(container_stack_refresh="another")
    assert is_hardened(machine, "probe")
    assert not machine.run("docker image ls --quiet --filter label=planted")
    assert [path for path in stranger() if "/manifests/" in path and "slipway/known/" not in path] == []
