"""Which of the host's own package sources a base image is made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.modules import base_image
from plugins.modules.base_image import alpine_commands, apt_options, deb822_sources, one_line_sources

DEB822 = """\
# The archive
Types: deb deb-src
URIs: https://archive.example.test/debian
Suites: bookworm bookworm-updates trixie trixie-updates trixie-backports
Components: main
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: https://archive.example.test/security
Suites: trixie-security
Components: main

Enabled: no
Types: deb
URIs: https://off.example.test/debian
Suites: trixie
Components: main
"""

LINES = """\
deb https://archive.example.test/debian trixie main
deb [signed-by=/usr/share/keyrings/archive.gpg arch=amd64] https://archive.example.test/security trixie-security main
deb-src https://archive.example.test/debian trixie main
# deb https://off.example.test/debian trixie main
deb https://archive.example.test/debian bookworm main
"""


def test_stanzas_of_the_release_are_taken_with_their_keys() -> None:
    first, second = deb822_sources(DEB822, "trixie")
    assert "Suites: trixie trixie-updates" in first
    assert "bookworm" not in first
    assert "backports" not in first
    assert "Signed-By: /usr/share/keyrings/archive.gpg" in first
    assert "deb-src" not in first
    assert "trixie-security" in second


def test_a_source_that_is_off_stays_off() -> None:
    assert "off.example.test" not in "".join(deb822_sources(DEB822, "trixie"))
    assert "off.example.test" not in "".join(one_line_sources(LINES, "trixie"))


def test_lines_of_the_release_are_taken_with_their_options() -> None:
    lines = one_line_sources(LINES, "trixie")
    assert len(lines) == 2
    assert "signed-by=" in lines[1]


def test_a_release_the_host_has_not_gets_nothing() -> None:
    assert deb822_sources(DEB822, "forky") == []
    assert one_line_sources(LINES, "forky") == []


def test_the_proxy_of_the_host_is_used_and_nothing_else_of_its_settings() -> None:
    dump = """\
Acquire::http::Proxy "http://proxy.example.test:3128";
Acquire::https::CaInfo "/etc/ssl/own.pem";
Acquire::http::Proxy "";
APT::Install-Recommends "1";
"""
    assert apt_options(dump) == [
        'Acquire::http::Proxy "http://proxy.example.test:3128";',
        'Acquire::https::CaInfo "/etc/ssl/own.pem";',
    ]


def test_alpine_is_made_of_the_host_s_repositories_with_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_image, "_AUTHORITIES", Path("/none"))
    install, copy, pack = alpine_commands(Path("/somewhere/root.tar"), Path("/somewhere/root"))
    options = " ".join(install)
    assert "--root /somewhere/root" in options
    assert "--repositories-file /etc/apk/repositories" in options
    assert "--keys-dir /etc/apk/keys" in options
    assert "--allow-untrusted" not in options
    assert {"/etc/apk/repositories", "/etc/apk/keys", "/somewhere/root/etc/apk"} <= set(copy)
    assert pack == ["tar", "-C", "/somewhere/root", "-cf", "/somewhere/root.tar", "."]


def test_alpine_trusts_whom_the_host_trusts_before_its_list_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(base_image, "_AUTHORITIES", tmp_path)
    make, trust, install, *_ = alpine_commands(Path("/somewhere/root.tar"), Path("/somewhere/root"))
    assert make == ["mkdir", "-p", f"/somewhere/root{tmp_path.parent}"]
    assert trust == ["cp", "-a", str(tmp_path), f"/somewhere/root{tmp_path.parent}"]
    assert install[0] == "apk"
