from __future__ import annotations

import pytest

from tests.acceptance.machine import Machine


def test_the_clock_shows_the_zone(machine: Machine) -> None:
    assert machine.run("date --date=@1767225600 +%Z%H || date -d @1767225600 +%Z%H") == "CET01"


def test_the_host_has_its_name(machine: Machine) -> None:
    assert machine.run("uname -n") == "probe.example.test"
    assert machine.run("cat /etc/hostname") == "probe.example.test"
    assert machine.run("getent hosts probe").split()[0] == "127.0.1.1"


def test_logins_get_the_locale(machine: Machine) -> None:
    if not machine.host.file("/etc/debian_version").exists:
        pytest.skip("Alpine's C library has no locales")
    # As a login on the console or by ssh reads it, by PAM.
    assert "LANG=C.UTF-8" in machine.run("cat /etc/default/locale").splitlines()


def test_packages_are_available(machine: Machine) -> None:
    assert machine.run("apt-cache show nginx 2>/dev/null || apk search --exact nginx")
