from __future__ import annotations

import ftplib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.acceptance.ftps import Ftps
from tests.acceptance.killing import kill_each
from tests.acceptance.machine import STACK, Machine
from tests.acceptance.summary import Site
from tests.acceptance.waiting import wait_until
from tests.roles.services import starts_at_boot

Given = dict[str, Any]


@pytest.fixture
def connection(machine: Machine, blog: Site) -> Iterator[Ftps]:
    made = Ftps(blog, machine.summary.ca_certificate)
    yield made
    made.close()


def password(given: Given) -> str:
    return str(given["ftp_accounts"][0]["password"])


def test_an_upload_lies_in_the_site_and_is_its_own(machine: Machine, connection: Ftps, given: Given) -> None:
    connection.enter("blog", password(given))
    connection.put("/public/upload.txt", b"by ftp\n")
    assert connection.fetch("/public/upload.txt") == b"by ftp\n"
    assert machine.run("cat /var/www/blog/public/upload.txt") == "by ftp"
    assert machine.run("stat -c '%u %g' /var/www/blog/public/upload.txt") == "20001 20001"
    connection.delete("/public/upload.txt")


def test_settings_of_the_users_own_count(machine: Machine, blog: Site, connection: Ftps, given: Given) -> None:
    with socket.create_connection((blog.address, 21), timeout=20) as plain:
        assert plain.recv(100).rstrip() == f"220 {given['ftp_options']['ftpd_banner']}".encode()
    connection.enter("blog", password(given))
    connection.put("/public/upload.txt", b"by ftp\n")
    # By the role's own umask 640.
    assert machine.run("stat -c %a /var/www/blog/public/upload.txt") == "644"
    connection.delete("/public/upload.txt")


def test_it_is_locked_into_its_folder(connection: Ftps, given: Given) -> None:
    connection.enter("blog", password(given))
    connection.cwd("/../..")
    assert connection.pwd() == "/"
    assert "etc" not in [name.strip("/") for name in connection.nlst("/")]
    with pytest.raises(ftplib.error_perm):
        connection.mkd("/outside")


def test_a_wrong_password_is_refused(connection: Ftps) -> None:
    with pytest.raises(ftplib.error_perm, match=r"^530"):
        connection.enter("blog", "no-password-of-anybody")


@pytest.mark.parametrize("user", ["anonymous", "blog"])
def test_nobody_logs_in_without_tls(machine: Machine, user: str) -> None:
    plain = ftplib.FTP(machine.summary.ssh.host, timeout=20)  # noqa: S321 - that it is refused is what is tested
    with plain, pytest.raises(ftplib.error_perm, match=r"^530"):
        plain.login(user, "a-password-of-the-tests")


@pytest.fixture
def person(machine: Machine) -> Iterator[str]:
    """Return a user of the host, who has a password and a folder where FTP would look for one."""
    name = "slipway-person"
    # What Debian has, or what busybox has.
    machine.run(f"useradd --no-create-home {name} 2>/dev/null || adduser -D -H {name}")
    try:
        machine.feed("chpasswd", f"{name}:a-password-of-a-person\n")
        machine.run(f"mkdir -p /var/www/{name}")
        yield name
    finally:
        machine.run(f"userdel {name} 2>/dev/null || deluser {name}; rm -rf /var/www/{name}")


def test_a_user_of_the_host_can_t_log_in(connection: Ftps, person: str) -> None:
    with pytest.raises(ftplib.error_perm, match=r"^530"):
        connection.enter(person, "a-password-of-a-person")


# Five, by the role.
PER_ADDRESS = 5
GREET = "import socket; print(socket.create_connection(('{}', 21), 20).recv(100).decode())"


def test_one_address_gets_a_few_of_all_connections(machine: Machine, blog: Site) -> None:
    with ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_connection((blog.address, 21), timeout=20))
            for _ in range(2 * PER_ADDRESS)
        ]
        greetings = [one.recv(100)[:3] for one in made]
        assert 0 < greetings.count(b"220") <= PER_ADDRESS
        assert set(greetings) == {b"220", b"421"}
        # Another address.
        assert machine.run(f'python3 -c "{GREET.format(blog.address)}"').startswith("220")


def test_it_is_well_when_it_has_as_many_clients_as_it_may(
    machine: Machine, blog: Site, converge: Callable[..., None]
) -> None:
    if not machine.compose:
        pytest.skip("the service manager asks no question")
    converge(ftp_max_clients=2)
    ask = f"cd {STACK} && docker inspect $(docker compose ps --quiet ftp)"
    with ExitStack() as stack:
        made = [stack.enter_context(socket.create_connection((blog.address, 21), timeout=20)) for _ in range(2)]
        assert {one.recv(100)[:3] for one in made} == {b"220"}
        start = datetime.now(UTC).isoformat()

        def asked() -> list[int]:
            log = json.loads(machine.run(ask))[0]["State"]["Health"]["Log"]
            return [entry["ExitCode"] for entry in log if entry["Start"] > start]

        wait_until("its health is asked twice", lambda: len(asked()) >= 2, 60)
        assert set(asked()) == {0}


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-CCM"])
def test_ciphers_beyond_the_guideline_are_refused(connection: Ftps, cipher: str) -> None:
    connection.context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection.context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="ALERT_HANDSHAKE_FAILURE"):
        connection.auth()


def test_it_has_no_key_but_its_own(machine: Machine) -> None:
    if not machine.compose:
        pytest.skip("a packaged server reads its key as root")
    found = machine.run(f"cd {STACK} && docker compose exec -T ftp sh -c 'ls /etc/slipway/tls'").split()
    assert sorted(found) == ["ftp.crt", "ftp.key"]


def test_it_survives_the_kill_of_its_process(machine: Machine, blog: Site, given: Given) -> None:
    def serves() -> bool:
        connection = Ftps(blog, machine.summary.ca_certificate)
        try:
            connection.enter("blog", password(given))
            return "public" in [name.strip("/") for name in connection.nlst("/")]
        finally:
            connection.close()

    kill_each(machine, "ftp", serves)


def test_it_starts_at_boot(machine: Machine) -> None:
    assert starts_at_boot(machine, "ftp", "vsftpd")
