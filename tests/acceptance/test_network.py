"""What can be reached from outside: the sites, FTP and ssh, and nothing else."""

from __future__ import annotations

import errno
import resource
import selectors
import shlex
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from tests.acceptance import ftps, web
from tests.acceptance.beside import beside
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client

PASSIVE_PORTS = range(21100, 21150)
# A machine that has the address of a cloud's metadata service, and that the host passes packets on to.
CLOUD = (
    beside("cloud", "169.254.169.253/30", "169.254.169.254/30")
    + "setsid ip netns exec cloud python3 -m http.server 8086 >/dev/null 2>&1 </dev/null &\n"
)
NO_CLOUD = "ip netns pids cloud | xargs -r kill; ip netns del cloud"
ASK_CLOUD = "python3 -c \"import urllib.request; urllib.request.urlopen('http://169.254.169.254:8086/', timeout=5)\""
ASK_CLOUD_PHP = "<?php echo @fsockopen('169.254.169.254', 8086, $code, $text, 3) ? 'open' : 'closed';"
# Connections tried at a time, some fewer than a process may have files open; and seconds that a filtered one may keep
# silent, in which one that was lost is sent again.
AT_ONCE = min(8000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
SILENCE = 1.5


def _begin(address: str, port: int) -> socket.socket | None:
    """Begin to connect; none where the answer, a refusal, is there at once."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    attempt = socket.socket(family, socket.SOCK_STREAM)
    attempt.setblocking(False)
    if attempt.connect_ex((address, port)) in (0, errno.EINPROGRESS):
        return attempt
    attempt.close()
    return None


def _open_among(address: str, ports: Iterable[int]) -> set[int]:
    found = set()
    with selectors.DefaultSelector() as waiting:
        for port in ports:
            if attempt := _begin(address, port):
                waiting.register(attempt, selectors.EVENT_WRITE, port)
        end = time.monotonic() + SILENCE
        while waiting.get_map() and (left := end - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                tried = key.fileobj
                assert isinstance(tried, socket.socket)
                waiting.unregister(tried)
                if tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(int(key.data))
                tried.close()
        for key in list(waiting.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return found


def open_ports(address: str, ports: Iterable[int]) -> set[int]:
    """Return which TCP ports of an address accept a connection."""
    todo = list(ports)
    found: set[int] = set()
    for start in range(0, len(todo), AT_ONCE):
        found |= _open_among(address, todo[start : start + AT_ONCE])
    # Looked at twice, so that a port that was open for a moment doesn't count.
    return _open_among(address, sorted(found))


def test_the_scan_finds_an_open_port() -> None:
    """The scan itself: one that finds nothing would pass for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert open_ports("127.0.0.1", range(port - 50, port + 50)) >= {port}


@pytest.mark.parametrize("port", [3306, 6379, 9000, 2375], ids=["database", "cache", "php", "engine"])
def test_what_serves_the_sites_is_not_reachable(summary: Summary, port: int) -> None:
    address = summary.sites[0].address
    with pytest.raises((ConnectionRefusedError, TimeoutError)):
        socket.create_connection((address, port), timeout=3).close()


def test_no_stranger_reaches_the_hosts_of_database_and_cache(summary: Summary) -> None:
    """This machine is a third host, which has no business there: but for ssh, no port of theirs answers it."""
    if not summary.backends:
        pytest.skip("database and cache are on the host of the sites")
    found = {ssh.host: open_ports(ssh.host, range(1, 65536)) - {ssh.port} for ssh in summary.backends.values()}
    assert found == {ssh.host: set() for ssh in summary.backends.values()}


def test_nothing_but_the_services_is_open(summary: Summary) -> None:
    address = summary.sites[0].address
    served = {site.port for site in summary.sites} | {web.HTTP_PORT}
    if summary.of_type("wordpress"):
        served.add(ftps.PORT)
    found = open_ports(address, range(1, 65536))
    assert found >= served
    assert found - served - {summary.ssh.port} - set(PASSIVE_PORTS) == set()


@pytest.fixture
def address_ipv6(machine: Machine) -> str:
    """Return the address by which the target is reached over IPv6."""
    route = machine.host.run("ip -6 -o route show default").stdout.split()
    device = route[route.index("dev") + 1] if "dev" in route else ""
    shown = machine.host.run(f"ip -6 -o addr show dev {device} scope global").stdout.split() if device else []
    if "inet6" not in shown:
        pytest.skip("the host has no address of IPv6 that leads elsewhere")
    return str(shown[shown.index("inet6") + 1]).partition("/")[0]


def test_the_sites_answer_over_ipv6(summary: Summary, address_ipv6: str) -> None:
    assert web.all_served(replace(summary, sites=tuple(replace(one, address=address_ipv6) for one in summary.sites)))


def test_nothing_more_is_open_over_ipv6(summary: Summary, address_ipv6: str) -> None:
    allowed = {web.HTTP_PORT, ftps.PORT, summary.ssh.port, *PASSIVE_PORTS}
    allowed |= {site.port for site in summary.sites}
    assert open_ports(address_ipv6, range(1, 65536)) - allowed == set()


@pytest.fixture
def cloud(machine: Machine) -> Iterator[None]:
    machine.run(CLOUD)
    try:
        wait_until("it answers the host", lambda: machine.host.run(ASK_CLOUD).rc == 0, 20)
        yield
    finally:
        machine.run(NO_CLOUD)


@pytest.mark.lab
@pytest.mark.writes
@pytest.mark.usefixtures("cloud")
def test_php_does_not_reach_the_metadata_service(
    machine: Machine, wordpress_site: Site, wordpress_client: Client, mark: str
) -> None:
    root = machine.web_root(wordpress_site)
    path = f"{root}/{mark}.php"
    machine.feed(f"sh -c 'cat >{path} && chown --reference={root} {path}'", ASK_CLOUD_PHP)
    try:
        assert wordpress_client.get(f"/{mark}.php").text == "closed"
        # It is the firewall that closes it.
        machine.run("nft flush chain inet slipway_firewall metadata")
        assert wordpress_client.get(f"/{mark}.php").text == "open"
    finally:
        machine.run(f"nft --file /etc/slipway/firewall.nft; rm {path}")


@pytest.mark.lab
@pytest.mark.writes
def test_a_port_that_a_container_publishes_is_closed(machine: Machine, summary: Summary) -> None:
    """One of the user's own, of the image that nginx's is."""
    if not machine.compose:
        pytest.skip("there are no containers")
    image = machine.run("docker ps --filter label=com.docker.compose.service=nginx --format '{{.Image}}'")
    settings = "events {} http { server { listen 8095; root /tmp; } }"
    run = f"echo '{settings}' >/tmp/own.conf; exec nginx -c /tmp/own.conf -g 'daemon off;'"
    name = machine.run(
        f"docker run --detach --publish 8095:8095 --user 0 --entrypoint sh {image} -c {shlex.quote(run)}"
    )
    try:
        ask = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8095/', timeout=5)"
        wait_until("it serves", lambda: "HTTP Error" in machine.host.run(f'python3 -c "{ask}"').stderr, 30)
        assert open_ports(summary.sites[0].address, [8095]) == set()
        machine.run("nft 'insert rule inet slipway_firewall arriving tcp dport 8095 accept'")
        assert open_ports(summary.sites[0].address, [8095]) == {8095}
    finally:
        machine.run(f"nft --file /etc/slipway/firewall.nft; docker rm --force {name}")
