"""How the connection of a run is found among processes, by a /proc of the tests' own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugins.modules import ssh_session
from plugins.modules.ssh_session import connection, ports, session, settings, version, written


def process(proc: Path, pid: int, parent: int, environment: bytes) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "environ").write_bytes(environment)
    (folder / "stat").write_text(f"{pid} (sudo (x) 1) S {parent} 1 1 0")


def test_the_login_is_found_behind_what_drops_its_variables(tmp_path: Path) -> None:
    process(tmp_path, 40, 30, b"PATH=/bin\0SUDO_USER=operator\0")
    process(tmp_path, 30, 20, b"SSH_CONNECTION=192.0.2.9 50000 192.0.2.7 2222\0HOME=/\0")
    process(tmp_path, 20, 1, b"")
    assert session(40, tmp_path) == ("192.0.2.9", 2222, os.getuid())


def test_without_ssh_there_is_none(tmp_path: Path) -> None:
    process(tmp_path, 40, 1, b"PATH=/bin\0SSH_CONNECTION=\0")
    assert session(40, tmp_path) == ("", 0, -1)


def test_a_connection_that_sshd_does_not_know_has_neither_address_nor_port(tmp_path: Path) -> None:
    process(tmp_path, 40, 1, b"SSH_CONNECTION=UNKNOWN 65535 UNKNOWN 65535\0")
    assert session(40, tmp_path) == ("", 0, os.getuid())


@pytest.mark.parametrize(
    ("value", "client"),
    [("fe80::1%eth0 1 fe80::2%eth0 22", "fe80::1"), ("::ffff:192.0.2.9 1 ::ffff:192.0.2.7 22", "192.0.2.9")],
)
def test_addresses_are_plain(value: str, client: str) -> None:
    assert connection(f"SSH_CONNECTION={value}\0".encode()) == (client, 22)


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.9", "10.0"),
        ("unknown option -- V\nOpenSSH_9.2p1, OpenSSL", "9.2"),
        ("not found", ""),
    ],
)
def test_the_version_is_read_from_what_sshd_says(said: str, number: str) -> None:
    assert version(said) == number


def test_sshd_may_have_several_ports() -> None:
    assert ports("port 22\nport 2222\naddressfamily any\ngatewayports no\n") == [22, 2222]


# What OpenSSH's prints where the folder is missing that a service that isn't started yet would make.
SOCKET = """\
#!/bin/sh
[ -d {folder} ] || {{ echo "Missing privilege separation directory: {folder}"; exit 255; }}
echo port 2222
"""
BROKEN = """\
#!/bin/sh
echo port 22
echo "/etc/ssh/sshd_config: terminating, 1 bad configuration options"
exit 255
"""


def sshd(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    program = folder / "sshd"
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setattr(ssh_session, "_SSHD", str(program))


def test_an_sshd_that_is_not_started_yet_says_its_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "run/sshd"
    sshd(monkeypatch, tmp_path, SOCKET.format(folder=missing))
    assert ports(settings()) == [2222]
    assert missing.stat().st_mode & 0o777 == 0o755


def test_an_sshd_that_refuses_its_settings_has_no_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sshd(monkeypatch, tmp_path, BROKEN)
    assert ports(settings()) == []


def test_what_a_file_says_is_told_by_the_names_that_sshd_takes() -> None:
    text = "# Written\n\nPermitRootLogin prohibit-password\npermitrootlogin no\nAllowUsers  anne jan\nMatch\n"
    assert written(text) == {"permitrootlogin": "prohibit-password", "allowusers": "anne jan"}
