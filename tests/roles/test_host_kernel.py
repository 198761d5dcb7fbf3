from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.machine import Machine

FILE = "/etc/sysctl.d/99-slipway.conf"


def settings(machine: Machine) -> dict[str, str]:
    """Return what the file says."""
    lines = [line for line in machine.run(f"cat {FILE}").splitlines() if not line.startswith("#")]
    return dict(line.split(" = ", 1) for line in lines)


def running(machine: Machine, key: str) -> str:
    return " ".join(machine.run(f"cat /proc/sys/{key.replace('.', '/')}").split())


def test_the_settings_of_the_next_boot_are_those_of_the_kernel(machine: Machine) -> None:
    told = settings(machine)
    assert told["net.ipv4.conf.all.send_redirects"] == "0"
    assert told["net.ipv4.tcp_keepalive_time"] == "600"
    assert {key: running(machine, key) for key in told} == told


def test_a_setting_that_is_left_alone_or_unknown_is_not_written(machine: Machine) -> None:
    told = settings(machine)
    assert "net.ipv4.conf.all.log_martians" not in told
    assert "net.ipv4.no_such_setting" not in told
    assert "net.ipv4.no_such_setting" in machine.run(f"grep 'not in this kernel' {FILE}")


def test_a_container_leaves_its_machine_s_kernel_alone(machine: Machine) -> None:
    assert [key for key in settings(machine) if not key.startswith("net.")] == []


def test_forwarding_is_not_touched(machine: Machine) -> None:
    assert [key for key in settings(machine) if "forward" in key] == []


def test_a_changed_setting_is_brought_back(machine: Machine, converge: Callable[..., str]) -> None:
    machine.run("sysctl -w net.ipv4.tcp_rfc1337=0 net.ipv4.tcp_keepalive_time=7200")
    said = converge()
    assert running(machine, "net.ipv4.tcp_rfc1337") == "1"
    assert running(machine, "net.ipv4.tcp_keepalive_time") == "600"
    # What can't be had was said when the file was written, and isn't again.
    assert "no_such_setting" not in said


def test_a_new_value_is_said_with_what_can_not_be_had(machine: Machine, converge: Callable[..., str]) -> None:
    said = converge(host_kernel_sysctl={"net.ipv4.tcp_fin_timeout": 30, "net.ipv4.no_such_setting": 1})
    assert running(machine, "net.ipv4.tcp_fin_timeout") == "30"
    assert "no_such_setting" in said


def test_the_kernel_s_refusal_stops_the_run(machine: Machine, converge: Callable[..., str]) -> None:
    with pytest.raises(AssertionError, match="the kernel refuses 'many'"):
        converge(host_kernel_sysctl={"net.ipv4.tcp_fin_timeout": "many"})
    assert settings(machine)["net.ipv4.tcp_keepalive_time"] == "600"


def test_the_settings_are_applied_at_boot(machine: Machine) -> None:
    """By the very service that the boot starts."""
    machine.run("sysctl -w net.ipv4.tcp_rfc1337=0")
    if machine.host.file("/run/systemd/system").exists:
        machine.run("systemctl restart systemd-sysctl")
    else:
        script = machine.run("ls /etc/runlevels/boot/sysctl /etc/runlevels/sysinit/procps 2>/dev/null || true")
        machine.run(f"rc-service {script.rpartition('/')[2]} restart")
    assert running(machine, "net.ipv4.tcp_rfc1337") == "1"


def test_logins_leave_no_core_dumps_unless_they_are_allowed(machine: Machine, converge: Callable[..., str]) -> None:
    if not machine.host.file("/etc/debian_version").exists:
        pytest.skip("Alpine's logins have no limits of PAM; the kernel's setting is the machine's here")

    def limit() -> str:
        """Log in again, and return the hard limit that a program would have. sudo would take its own along."""
        machine.disconnect()
        return str(machine.backend.start("ulimit -H -c").makefile("rb").read().decode().strip())

    assert limit() == "0"
    converge(host_kernel_core_dumps=True)
    assert limit() != "0"
