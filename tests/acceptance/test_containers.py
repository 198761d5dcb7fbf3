"""The containers: no more rights, room or knowledge than they need (CIS Docker Benchmark 1.6, by its numbers)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.acceptance.machine import PROJECT, Machine
from tests.acceptance.summary import Summary

pytestmark = pytest.mark.compose

# vsftpd takes the identity of whoever logged in, so it starts as root; with these alone of root's capabilities.
ROOT_CONTAINERS = {"ftp"}
CAPABILITIES = {"ftp": {"SETUID", "SETGID", "SYS_CHROOT", "NET_BIND_SERVICE", "KILL"}}
# The only way in.
PUBLISHED = {"nginx": {"80/tcp", "443/tcp"}, "ftp": {"21/tcp", *(f"{port}/tcp" for port in range(21100, 21150))}}
# Neither of them has a way out.
BACKEND_ONLY = {"mariadb", "redis"}


@pytest.fixture(scope="module")
def containers(machine: Machine) -> dict[str, dict[str, Any]]:
    """Return what ``docker inspect`` says, by Compose service."""
    return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in machine.containers()}


@pytest.fixture(scope="module")
def images(machine: Machine, containers: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    names = sorted({one["Image"] for one in containers.values()})
    found: list[dict[str, Any]] = json.loads(machine.run(f"docker image inspect {' '.join(names)}"))
    return found


def test_all_services_run(containers: dict[str, dict[str, Any]], summary: Summary) -> None:
    wanted = {"nginx"}
    if summary.of_type("wordpress"):
        wanted |= {"mariadb", "redis", "ftp", *(f"php-{site.name}-1" for site in summary.of_type("wordpress"))}
    assert containers.keys() >= wanted
    assert {name: one["State"]["Status"] for name, one in containers.items()} == dict.fromkeys(containers, "running")


def test_they_run_as_users_of_their_own(containers: dict[str, dict[str, Any]], machine: Machine) -> None:
    """4.1: what the definition says, and who the processes are."""
    for name, one in containers.items():
        user = one["Config"]["User"].split(":")[0]
        if name in ROOT_CONTAINERS:
            continue
        assert user.isdigit(), f"{name}: {user!r}"
        assert int(user) >= 1000, f"{name}: {user!r}"
    by_pid = {process.pid: process for process in machine.processes()}
    for name, one in containers.items():
        if name not in ROOT_CONTAINERS:
            assert by_pid[one["State"]["Pid"]].uid != 0, name


def test_they_have_no_rights_to_spare(containers: dict[str, dict[str, Any]]) -> None:
    """5.3, 5.4, 5.12, 5.25, 5.31."""
    for name, one in containers.items():
        granted = one["HostConfig"]
        assert not granted["Privileged"], name
        assert granted["CapDrop"] == ["ALL"], name
        added = {capability.removeprefix("CAP_") for capability in granted["CapAdd"] or []}
        assert added <= CAPABILITIES.get(name, set()), name
        assert granted["ReadonlyRootfs"], name
        assert any(option.startswith("no-new-privileges") for option in granted["SecurityOpt"] or []), name
        assert "unconfined" not in str(granted["SecurityOpt"]), name
        for mode in ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode"):
            assert granted[mode] != "host", f"{name}: {mode}"
        assert "docker.sock" not in json.dumps(one["Mounts"]), name
        assert not granted["Devices"], name


def test_a_read_only_root_is_read_only(containers: dict[str, dict[str, Any]], machine: Machine) -> None:
    """As the kernel says of what the main process sees; nothing has to be written for that."""
    for name, one in containers.items():
        mounts = machine.run(f"cat /proc/{one['State']['Pid']}/mounts").splitlines()
        # What it is, where it is, of which kind, with which options.
        options = [fields[3].split(",") for fields in map(str.split, mounts) if fields[1] == "/"]
        assert options, name
        assert "ro" in options[-1], f"{name}: {options}"


def test_they_have_limits(containers: dict[str, dict[str, Any]]) -> None:
    """5.10 memory, 5.11 processors, 5.28 processes; 2.13 the size of logs."""
    for name, one in containers.items():
        granted = one["HostConfig"]
        assert granted["Memory"] > 0, name
        assert granted["NanoCpus"] > 0, name
        assert (granted["PidsLimit"] or 0) > 0, name
        assert {"max-size", "max-file"} <= granted["LogConfig"]["Config"].keys(), name


def test_they_are_watched_and_come_back(containers: dict[str, dict[str, Any]]) -> None:
    """4.6, 5.14."""
    for name, one in containers.items():
        assert one["Config"].get("Healthcheck", {}).get("Test"), name
        assert one["State"]["Health"]["Status"] == "healthy", name
        assert one["HostConfig"]["RestartPolicy"]["Name"] in ("unless-stopped", "always"), name


def test_their_networks_are_their_own(containers: dict[str, dict[str, Any]], machine: Machine) -> None:
    for name, one in containers.items():
        networks = {network.removeprefix(f"{PROJECT}_") for network in one["NetworkSettings"]["Networks"]}
        assert networks <= {"frontend", "backend"}, name
        if name in BACKEND_ONLY:
            assert networks == {"backend"}, name
    backend = json.loads(machine.run(f"docker network inspect {PROJECT}_backend"))[0]
    assert backend["Internal"]
    assert backend["Driver"] == "bridge"


def test_only_the_web_and_ftp_are_published(containers: dict[str, dict[str, Any]]) -> None:
    for name, one in containers.items():
        published = {port for port, hosts in (one["HostConfig"]["PortBindings"] or {}).items() if hosts}
        assert published <= PUBLISHED.get(name, set()), name


def test_an_internal_service_has_no_way_out(machine: Machine, summary: Summary) -> None:
    """From the database's network, the target's own address cannot be reached."""
    address, port = summary.sites[0].address, summary.sites[0].port
    ask = f"python3 -c 'import socket; socket.create_connection((\"{address}\", {port}), 3)'"
    process = machine.run(f"docker inspect --format '{{{{.State.Pid}}}}' {PROJECT}-mariadb-1")
    assert machine.host.run(ask).rc == 0
    assert machine.host.run(f"nsenter -t {process} -n {ask}").rc != 0


def test_no_image_is_a_moving_target(containers: dict[str, dict[str, Any]]) -> None:
    for name, one in containers.items():
        image = one["Config"]["Image"]
        assert re.search(r"(@sha256:[0-9a-f]{64}|:[^:/]+)$", image), f"{name}: {image}"
        assert not image.endswith(":latest"), f"{name}: {image}"


def test_no_secret_is_in_a_definition(
    machine: Machine, summary: Summary, containers: dict[str, dict[str, Any]], images: list[dict[str, Any]]
) -> None:
    """Neither in ``docker inspect`` nor in the environment, the image, or the steps it was made by."""
    history = "".join(machine.run(f"docker history --no-trunc {image['Id']}") for image in images)
    text = json.dumps([containers, images]) + history + machine.stack("config")
    assert [name for name, value in summary.secrets().items() if value in text] == []


def test_no_secret_is_in_a_layer(machine: Machine, summary: Summary) -> None:
    """All layers of all images, and what the containers wrote themselves."""
    root = machine.run("docker info --format '{{.DockerRootDir}} {{.Driver}}'")
    folder, driver = root.split()
    if driver != "overlay2":
        pytest.skip(f"the layers of the storage driver {driver} are not plain folders")
    patterns = "\n".join(summary.secrets().values())
    found = machine.feed(f"grep -rlF -f - {folder}/{driver}/*/diff || true", patterns)
    assert found == ""
