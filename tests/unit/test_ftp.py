"""What the role ftp takes for further settings of its server, and what it refuses before it writes anything."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parsers import parsers_with
from tests.repository import ROOT, load
from tests.unit.refusing import refusal
from tools.parsers import PACKAGES

VARS = load(ROOT / "roles/ftp/vars/main.yml")
SETTINGS: dict[str, list[str]] = VARS["__ftp_settings"]
OWN: list[str] = VARS["__ftp_own_settings"]
REPLACED: dict[str, str] = VARS["__ftp_replaced_settings"]
# What the server says when it has read its settings and finds no client.
READ = "must be started from inetd"


def said_by(release: str, *lines: str) -> str:
    """Return what the server of a release says of these settings; skips the test where there is none."""
    parsers, vsftpd = parsers_with(release, "vsftpd")
    with (
        tempfile.NamedTemporaryFile("w", dir=parsers.root / "tmp", suffix=".conf") as file,
        tempfile.TemporaryFile("w+") as answer,
    ):
        file.write("\n".join([*lines, ""]))
        file.flush()
        # It answers on its standard input, and listens for nobody.
        command = parsers.command(vsftpd, f"/tmp/{Path(file.name).name}", "-olisten=NO", "-olisten_ipv6=NO")
        subprocess.run(command, stdin=answer, capture_output=True, timeout=10, check=False)
        answer.seek(0)
        return answer.read()


@pytest.mark.parametrize("release", PACKAGES)
def test_every_release_knows_the_settings_that_are_taken(release: str) -> None:
    values = {"switch": "NO", "number": "1", "text": "x"}
    lines = [f"{name}={values[kind]}" for kind, names in SETTINGS.items() for name in names]
    assert READ in said_by(release, *lines)


@pytest.mark.parametrize("release", PACKAGES)
def test_a_setting_has_the_kind_that_the_server_takes_it_for(release: str) -> None:
    for kind, names in SETTINGS.items():
        for name in names:
            assert ("bad bool" in said_by(release, f"{name}=7")) == (kind == "switch"), name


@pytest.mark.parametrize("release", PACKAGES)
def test_the_settings_that_are_refused_are_settings(release: str) -> None:
    """A name that is misspelt would refuse nothing."""
    # A name that Debian's builds have from 13 on.
    names = [name for name in [*OWN, *REPLACED] if name != "ssl_tlsv11" or release != "bookworm"]
    assert [name for name in names if "unrecognised" in said_by(release, f"{name}=x")] == []


@pytest.mark.parametrize("release", PACKAGES)
def test_of_two_settings_the_last_one_counts(release: str) -> None:
    assert "cannot load RSA certificate" in said_by(release, "ssl_enable=NO", "ssl_enable=YES")
    assert READ in said_by(release, "ssl_enable=YES", "ssl_enable=NO")


def test_no_setting_is_taken_and_refused() -> None:
    def names() -> Iterator[str]:
        for listed in (*SETTINGS.values(), OWN, REPLACED):
            yield from listed

    assert len(set(names())) == len(list(names()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"ftpd_banner": "x", "listen_port": 2121, "pasv_min_port": 1, "pasv_max_port": 2},
            "ftp_options: listen_port, pasv_max_port, pasv_min_port is not allowed; use ftp_port, ftp_passive_ports",
        ),
        (
            {"ftpd_banner": "x", "chroot_local_user": False, "anonymous_enable": True},
            "ftp_options: anonymous_enable, chroot_local_user is not allowed, because the role sets it",
        ),
        ({"ftpd_baner": "x"}, "ftp_options: ftpd_baner is not allowed; one of: accept_timeout, "),
        ({"write_enable": "maybe"}, "ftp_options: write_enable 'maybe' is not allowed; give YES or NO"),
        ({"local_umask": "u=rwx"}, "ftp_options: local_umask 'u=rwx' is not allowed; give a whole number"),
        ({"ftpd_banner": "x\nlocal_root=/"}, "is not allowed; give one line without blanks at its ends"),
        ({"ftpd_banner": None}, "ftp_options: ftpd_banner '' is not allowed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_undoes_something_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, "ftp", ftp_options=options, ftp_provider="native")


def test_other_settings_are_taken(tmp_path: Path) -> None:
    options = {"ftpd_banner": "Harbour: files", "write_enable": False, "local_umask": "022", "local_max_rate": 100000}
    assert refusal(tmp_path, "ftp", ftp_options=options, ftp_provider="native") == ""


@pytest.mark.parametrize("ports", [[30000, 31000], [40000, 40256], [50000, 40000]], ids=str)
def test_passive_ports_are_as_many_as_a_container_can_publish(tmp_path: Path, ports: list[int]) -> None:
    assert "ftp_passive_ports: " in refusal(tmp_path, "ftp", ftp_passive_ports=ports, ftp_provider="native")
