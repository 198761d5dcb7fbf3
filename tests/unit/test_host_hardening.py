"""What the roles of the hardening refuse before they change anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.filter.slipway_platform import platform_files
from tests.repository import ROOT, load
from tests.unit.refusing import refusal

# How a run reaches a host, and what its sshd says.
SESSION = {
    **{"client": "192.0.2.9", "port": 22, "user": "operator"},
    **{"listening": [], "server": True, "version": "10.0", "own": {}},
}


# All that is wrong with a role's variables is said at once; a run of its checks takes seconds.
@pytest.mark.parametrize(
    ("role", "variables", "said"),
    [
        pytest.param(
            "host_firewall",
            {"__host_firewall_session": {**SESSION, "client": "", "port": 0}},
            ["the port of sshd of localhost can't be found, and this run doesn't come by it; run 'sshd -T'"],
            id="host_firewall",
        ),
        pytest.param(
            "host_ssh",
            {
                "__host_ssh_session": SESSION,
                "host_ssh_options": {
                    "PERMITEMPTYPASSWORDS": True,
                    "Banner": "/etc/issue\nPasswordAuthentication yes",
                    "AcceptEnv": ["LANG", "LC_*\nPasswordAuthentication yes"],
                    "Banner /etc/issue\nPort": 22,
                },
            },
            [
                "host_ssh_options: PERMITEMPTYPASSWORDS is not allowed; use keys",
                "of Banner has a line break",
                "of AcceptEnv has a line break",
                "'Banner /etc/issue Port' is not the name of a setting",
            ],
            id="host_ssh",
        ),
        pytest.param(
            "host_kernel",
            {
                "slipway_provider": "compose",
                "host_kernel_sysctl": {
                    "../../etc/passwd": 1,
                    "net./.x": 1,
                    "kernel": 1,
                    "a.b\nc": 1,
                    "a.b": "1\nkernel.sysrq = 1",
                    "kernel.sysrq": False,
                    "kernel.panic": [1],
                    "net.ipv4.ip_forward": 0,
                },
            },
            [
                "'../../etc/passwd' is not the name of a kernel setting",
                "'net./.x' is not the name",
                "'kernel' is not the name",
                "'a.b c' is not the name",
                "of a.b has a line break",
                "kernel.sysrq is false; give a number or a text",
                "kernel.panic is [1]; give a number or a text",
                "net.ipv4.ip_forward is '0', but localhost needs '1' (host_kernel_required)",
            ],
            id="host_kernel",
        ),
        pytest.param(
            "host_time",
            {
                "host_time_servers": [
                    *("time.example.test\nallow all", "-x", "192.0.2.256", "12"),
                    *("a.example.test", "a.example.test"),
                ]
            },
            [
                "allow all' is not allowed; give a host name such as time.example.test, or an address",
                "'-x' is not allowed",
                "'192.0.2.256' is not allowed",
                "'12' is not allowed",
                "has an entry twice",
            ],
            id="host_time",
        ),
        pytest.param(
            "host_updates",
            {
                "host_updates_origins": [],
                "host_updates_hold": ["docker io", "x;reboot", "-f"],
                # What YAML makes of 4:30 without quotes.
                "host_updates_reboot_time": 16200,
            },
            [
                "host_updates_origins: [] is not allowed; give at least security",
                "'docker io' is not the name of a package",
                "'x;reboot' is not the name of a package",
                "'-f' is not the name of a package",
                "'16200' is not allowed; give a time in quotes",
            ],
            id="host_updates",
        ),
    ],
)
def test_what_can_not_work_is_refused(tmp_path: Path, role: str, variables: dict[str, Any], said: list[str]) -> None:
    output = refusal(tmp_path, role, **variables)
    assert [line for line in said if line not in output] == [], output


@pytest.mark.parametrize(
    ("role", "variables"),
    [
        pytest.param(
            "host_firewall",
            {"__host_firewall_session": {**SESSION, "client": "", "port": 0, "listening": [2222]}},
            id="host_firewall",
        ),
        pytest.param(
            "host_firewall",
            {"__host_firewall_session": {**SESSION, "client": "", "port": 0, "server": False}},
            id="host_firewall-without-sshd",
        ),
        pytest.param(
            "host_kernel",
            {
                "host_kernel_sysctl": {
                    "net.ipv4.ip_forward": 1,
                    "net.ipv4.conf.all.forwarding": "",
                    "net.ipv4.conf.eth0/100.rp_filter": 2,
                    "kernel.core_pattern": "|/bin/false",
                    "kernel.sysrq": None,
                }
            },
            id="host_kernel",
        ),
        pytest.param(
            "host_kernel",
            {"host_kernel_sysctl": {"net.ipv4.ip_forward": 0}, "slipway_provider": "native"},
            id="host_kernel-native",
        ),
        pytest.param(
            "host_time",
            {"host_time_servers": ["192.0.2.1", "2001:db8::1", "time.example.test", "ntp"]},
            id="host_time",
        ),
        pytest.param(
            "host_updates",
            {"host_updates_hold": ["docker.io", "libstdc++6"], "host_updates_reboot_time": "23:59"},
            id="host_updates",
        ),
    ],
)
def test_what_can_work_is_not_refused(tmp_path: Path, role: str, variables: dict[str, Any]) -> None:
    assert refusal(tmp_path, role, **variables) == ""


@pytest.mark.parametrize("distribution", ["Debian", "Ubuntu"])
def test_updates_come_from_the_platform_s_own_origins(distribution: str) -> None:
    """Another one's are never there, so nothing would be installed, and nobody told."""
    facts = {"os_family": "Debian", "distribution": distribution, "distribution_version": "24.04"}
    patterns: dict[str, list[str]] = {}
    for path in platform_files(facts, str(ROOT / "roles/host_updates/vars")):
        patterns = load(Path(path)).get("__host_updates_patterns", patterns)
    assert patterns.keys() == {"security", "updates", "release"}
    assert [one for each in patterns.values() for one in each if not one.startswith(f"origin={distribution}")] == []
