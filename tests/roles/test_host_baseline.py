from __future__ import annotations

from collections.abc import Callable

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


def needs_debian(machine: Machine) -> None:
    if not machine.host.file("/etc/debian_version").exists:
        pytest.skip("apk has no state between two packages, and installs all of a set or nothing")


def test_half_an_index_is_renewed(machine: Machine, converge: Callable[..., None]) -> None:
    """The role renewed the index a moment ago, and what is there of it is new."""
    needs_debian(machine)
    release = machine.run(". /etc/os-release; echo $VERSION_CODENAME")
    ask = f"apt-cache policy ca-certificates | grep -cE ' {release}/main .*Packages$'"
    before = machine.run(ask)
    machine.run(f"rm /var/lib/apt/lists/*_dists_{release}_*")
    assert machine.host.run(ask).stdout.strip() == "0"
    converge()
    assert machine.run(ask) == before


STAMP = "stat -c %Y /var/lib/slipway/package-index"


def test_an_index_of_other_sources_is_renewed(machine: Machine, converge: Callable[..., None]) -> None:
    before = machine.run(STAMP)
    converge()
    assert machine.run(STAMP) == before
    machine.run("touch /etc/apt/mirrors/debian.list || touch /etc/apk/repositories")
    converge()
    assert machine.run(STAMP) != before


def test_an_index_that_cannot_be_renewed_as_a_whole_stops_the_run(
    machine: Machine, converge: Callable[..., None]
) -> None:
    """apt by itself goes on with the sources that answered."""
    needs_debian(machine)
    mirrors = "/etc/apt/mirrors/debian.list"
    before = machine.run(STAMP)
    machine.run(f"mv {mirrors} /root/kept && echo http://archive.invalid/debian >{mirrors}")
    try:
        assert machine.run("apt-get update >/dev/null 2>&1; echo $?") == "0"
        with pytest.raises(AssertionError, match=r"archive\.invalid"):
            converge()
        assert machine.run(STAMP) == before
    finally:
        machine.run(f"mv /root/kept {mirrors}")
    converge()


# Kills dpkg when it has begun to write down what it does, as a power cut would.
INTERRUPT = """\
DEBIAN_FRONTEND=noninteractive setsid apt-get install -y --no-install-recommends lua5.4 lua5.1 tcl >/dev/null 2>&1 &
until ls /var/lib/dpkg/updates | grep -q 0001; do kill -0 $! || exit 1; done
pkill -9 -x dpkg
wait
apt-get check 2>&1 || true
"""


def test_an_interrupted_installation_is_completed(machine: Machine, converge: Callable[..., None]) -> None:
    needs_debian(machine)
    machine.run("apt-get purge -y -qq lua5.4 lua5.1 tcl >/dev/null 2>&1 || true")
    assert "dpkg was interrupted" in machine.run(INTERRUPT)
    converge()
    assert machine.run("dpkg --audit; ls /var/lib/dpkg/updates") == ""


def test_a_run_waits_for_a_busy_package_manager(machine: Machine, converge: Callable[..., None]) -> None:
    """As unattended-upgrades and cloud-init keep it busy in a VM's first minutes."""
    hold = "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(file, 2); time.sleep(60)"
    debian = machine.host.file("/etc/debian_version").exists
    command = f'python3 -c "{hold}"' if debian else "flock /lib/apk/db/lock sleep 60"
    machine.run("touch /etc/apt/mirrors/debian.list || touch /etc/apk/repositories")
    machine.run(f"(setsid {command}; touch /root/free) >/dev/null 2>&1 </dev/null &")
    converge()
    # The index needs another lock than the packages: only a run that waited for both renewed it after that.
    machine.run("test /var/lib/slipway/package-index -nt /root/free")
