from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import Machine
from tests.roles.services import is_enabled


def test_engine_and_compose_answer(machine: Machine) -> None:
    assert machine.run("docker version --format '{{.Server.Version}}'")
    assert machine.run("docker compose version --short").split(".")[0].lstrip("v") >= "2"


def test_the_settings_are_in_force(machine: Machine) -> None:
    info = json.loads(machine.run("docker info --format '{{json .}}'"))
    assert info["LiveRestoreEnabled"]
    assert info["LoggingDriver"] == "json-file"
    settings = json.loads(machine.run("cat /etc/docker/daemon.json"))
    # The role's own, and what it was told besides.
    assert settings["icc"] is False
    assert settings["max-concurrent-downloads"] == 2
    assert machine.run("stat -c '%a %u %g' /etc/docker/daemon.json") == "644 0 0"


def test_it_listens_on_no_port(machine: Machine) -> None:
    # 2375 and 2376, in the state LISTEN, as the kernel writes it.
    listening = machine.run("cat /proc/net/tcp /proc/net/tcp6")
    assert ":0947 0" not in listening
    assert ":0948 0" not in listening


def test_it_survives_the_kill_of_its_process(machine: Machine) -> None:
    kill_each(machine, "engine", lambda: machine.run("docker version"))


def test_it_starts_at_boot(machine: Machine) -> None:
    assert is_enabled(machine, "docker")


@pytest.mark.parametrize(
    "loss",
    [
        # What `nft flush ruleset` leaves of the Engine's tables, by the program that is there in any case. DOCKER_ with
        # an underscore is of the Engine around a target that is a container itself, and answers its names.
        r"""around=$(iptables-save -t nat | grep -e 'DOCKER_' | sed 's/^:\([^ ]*\).*/:\1 - [0:0]/')
        for table in nat filter; do iptables -t $table -F && iptables -t $table -X; done
        printf '*nat\n%s\nCOMMIT\n' "$around" | iptables-restore --noflush""",
        "iptables --table nat --flush PREROUTING",
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
    ],
    ids=["all rules", "the way to published ports", "forwarding"],
)
def test_a_run_restores_what_published_ports_need(machine: Machine, converge: Callable[..., None], loss: str) -> None:
    # The Engine that was killed before has added some of them twice.
    whole = "iptables-save | grep -we '-j DOCKER[-A-Z0-9]*' | sort -u; cat /proc/sys/net/ipv4/ip_forward"
    before = machine.run(whole)
    machine.run(loss)
    # It does harm.
    assert machine.host.run(whole).stdout.strip() != before
    converge()
    assert machine.run(whole) == before
