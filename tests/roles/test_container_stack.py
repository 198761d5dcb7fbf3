from __future__ import annotations

import json

from tests.acceptance.killing import LIMIT
from tests.acceptance.machine import STACK, Machine
from tests.acceptance.waiting import wait_until
from tests.roles.services import is_hardened


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
