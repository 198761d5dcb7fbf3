"""Who runs code in one site doesn't take the memory of all, and who is beside the host finds no way into it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.acceptance.beside import beside
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client

pytestmark = [pytest.mark.lab, pytest.mark.writes]

# More than any file system in memory may hold, and less than a service's memory.
TOO_MUCH_MB = 200
# Key of a piece of shared memory that nothing else has.
SHARED = 332183
PROGRAM = """<?php
set_time_limit(0);
if (isset($_GET['fill'])) {
    $path = $_GET['fill'] . '/' . basename(__FILE__);
    $file = @fopen($path, 'w') or exit('0');
    $full = str_repeat('x', 1 << 20);
    for ($mb = 0; $mb < %d && @fwrite($file, $full) === strlen($full); $mb++);
    unlink($path);
    echo $mb;
}
if (isset($_GET['share'])) {
    echo function_exists('shmop_open') && shmop_open(%d, 'c', 0600, 1 << 20) ? 'made' : 'refused';
}
if (isset($_GET['sort'])) {
    require __DIR__ . '/wp-load.php';
    $rows = "SELECT DISTINCT CONCAT(seq, REPEAT('x', 9000)) AS v FROM seq_1_to_" . (int) $_GET['sort'];
    echo $wpdb->get_var("SELECT COUNT(*) FROM ($rows) AS t");
}
"""
# A machine beside the host, which sends packets for containers to it.
NEIGHBOUR = beside("neighbour", "192.0.2.1/30", "192.0.2.2/30")


@pytest.fixture
def program(machine: Machine, wordpress_site: Site, mark: str) -> Iterator[str]:
    root = machine.web_root(wordpress_site)
    machine.feed(
        f"cat >{root}/{mark}.php && chown --reference={root} {root}/{mark}.php", PROGRAM % (TOO_MUCH_MB, SHARED)
    )
    yield f"/{mark}.php"
    machine.run(f"rm -f {root}/{mark}.php")


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp", "/dev/shm"])
def test_no_site_fills_the_memory_of_all_by_files(
    machine: Machine, wordpress_client: Client, program: str, folder: str
) -> None:
    if machine.service_manager != "systemd" and not machine.compose:
        pytest.skip("OpenRC has no file systems for one service")
    answer = wordpress_client.get(f"{program}?fill={folder}")
    assert answer.status == 200
    assert int(answer.text) <= 64


def test_shared_memory_ends_with_the_service(machine: Machine, wordpress_client: Client, program: str) -> None:
    """Else it stays, counted for nobody, until the host is booted."""
    if machine.service_manager != "systemd" and not machine.compose:
        pytest.skip("OpenRC has no shared memory for one service")
    answer = wordpress_client.get(f"{program}?share").text
    if answer == "refused":
        pytest.skip("this PHP makes no shared memory")
    assert answer == "made"
    keys = [line.split()[0] for line in machine.run("cat /proc/sysvipc/shm").splitlines()[1:]]
    assert str(SHARED) not in keys


def test_large_sorts_of_one_site_leave_the_database_to_the_others(
    machine: Machine, summary: Summary, wordpress_site: Site, wordpress_client: Client, program: str
) -> None:
    neighbour = next(one for one in summary.of_type("wordpress") if one != wordpress_site)
    before = {process.pid for process in machine.at("database").main_processes("database")}
    # Some 150 MB, which are no memory of the server's.
    assert wordpress_client.get(f"{program}?sort=17000").text == "17000"
    assert Client(neighbour, summary.ca_certificate).get("/").status == 200
    assert {process.pid for process in machine.at("database").main_processes("database")} == before


def test_a_neighbour_of_the_host_reaches_no_container_past_its_ports(machine: Machine) -> None:
    if not machine.compose:
        pytest.skip("there are no containers")
    # What nginx asks.
    server = machine.run("grep -ho 'static-[a-z0-9-]*:[0-9]*' /etc/slipway/nginx/sites/*.conf").split()[0]
    service, _, port = server.partition(":")
    container = machine.run(f"docker ps --quiet --filter label=com.docker.compose.service={service}")
    shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    address = machine.run(f"docker inspect --format '{shown}' {container}").split()[0]
    connect = f'import socket; socket.create_connection(("{address}", {port}), 3)'
    ask = f"ip netns exec neighbour python3 -c {shlex.quote(connect)}"
    machine.run(NEIGHBOUR)
    try:
        assert machine.host.run(ask).rc != 0
        # It is the firewall that keeps it out.
        machine.run("nft flush chain inet slipway_firewall forwarded")
        wait_until("it is let in", lambda: machine.host.run(ask).rc == 0, 20)
    finally:
        machine.run("nft --file /etc/slipway/firewall.nft; ip netns del neighbour")
