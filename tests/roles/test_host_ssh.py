from __future__ import annotations

import socket
from collections.abc import Callable

import paramiko
import pytest

from tests.acceptance.machine import Machine

FILE = "/etc/ssh/sshd_config.d/00-slipway.conf"


def allowed(machine: Machine, user: str) -> list[str]:
    """Return the ways to log in that sshd offers a user."""
    ssh = machine.summary.ssh
    with socket.create_connection((ssh.host, ssh.port), timeout=10) as connection:
        transport = paramiko.Transport(connection)
        try:
            transport.start_client(timeout=10)
            with pytest.raises(paramiko.BadAuthenticationType) as refused:
                transport.auth_none(user)
            return list(refused.value.allowed_types)
        finally:
            transport.close()


def settings(machine: Machine) -> dict[str, str]:
    """Return what sshd makes of all its files."""
    return dict(line.split(" ", 1) for line in machine.run("/usr/sbin/sshd -T").splitlines() if " " in line)


def test_no_password_is_asked_for(machine: Machine) -> None:
    assert allowed(machine, machine.summary.ssh.user) == ["publickey"]
    assert allowed(machine, "root") == ["publickey"]


def test_it_offers_nothing_but_current_algorithms(machine: Machine) -> None:
    found = settings(machine)
    offered = [name for key in ("kexalgorithms", "ciphers", "macs") for name in found[key].split(",")]
    assert "curve25519-sha256" in offered
    assert [name for name in offered if any(old in name for old in ("sha1", "nistp", "cbc", "group", "umac-64"))] == []


def test_a_session_is_for_commands_alone(machine: Machine) -> None:
    found = settings(machine)
    wanted = {"x11forwarding": "no", "allowtcpforwarding": "no", "allowagentforwarding": "no", "permitrootlogin": "no"}
    assert {key: found[key] for key in wanted} == wanted
    with pytest.raises(paramiko.ChannelException):
        machine.host.backend.client.get_transport().open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1))


def test_the_controller_is_never_held_off(machine: Machine) -> None:
    found = settings(machine)
    if "persourcepenalties" not in found:
        pytest.skip("this OpenSSH holds nobody off")
    me = machine.host.backend.client.get_transport().sock.getsockname()[0]
    assert me in found["persourcepenaltyexemptlist"]


def test_sessions_go_on_when_settings_change(machine: Machine, converge: Callable[..., str]) -> None:
    channel = machine.host.backend.client.get_transport().open_session()
    channel.exec_command("read -r line; echo got $line")
    converge(host_ssh_allow_tcp_forwarding="local")
    assert settings(machine)["allowtcpforwarding"] == "local"
    channel.sendall(b"it\n")
    assert channel.makefile().read() == b"got it\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NoSuchOption yes", "NoSuchOption"),
        (r"Match User root\nPasswordAuthentication yes", "'passwordauthentication no' is overridden for root"),
    ],
    ids=["unknown", "open"],
)
def test_what_is_wrong_elsewhere_is_not_brought_into_force(
    machine: Machine, converge: Callable[..., str], text: str, said: str
) -> None:
    before = machine.run(f"cat {FILE}")
    machine.run(f"printf '{text}\\n' >/etc/ssh/sshd_config.d/99-broken.conf")
    try:
        with pytest.raises(AssertionError, match=rf"ssh: not changed, since .*{said}"):
            converge(host_ssh_max_auth_tries=5)
        assert machine.run(f"cat {FILE}") == before
    finally:
        machine.run("rm /etc/ssh/sshd_config.d/99-broken.conf")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"host_ssh_allow_users": ["anne"]}, r"host_ssh_allow_users: anne is not allowed; Ansible logs in to .* as"),
        ({"host_ssh_options": {"port": 2222}}, "host_ssh_options: port is not allowed; use a file of your own"),
        ({"ansible_password": "x"}, "ansible_password: not allowed with host_ssh"),
    ],
    ids=["user", "port", "password"],
)
def test_what_would_lock_out_is_refused(
    machine: Machine, converge: Callable[..., str], variables: dict[str, object], said: str
) -> None:
    before = machine.run(f"cat {FILE}")
    with pytest.raises(AssertionError, match=said):
        converge(**variables)
    assert machine.run(f"cat {FILE}") == before
