"""The job of Alpine's updates, as the role writes it, with programs that stand in for apk and the clock."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.repository import ROOT
from tests.unit import running

# A clock of seconds since midnight, which only waiting moves on.
PROGRAMS = {
    "date": """
now=$(cat clock)
case $1 in
-r) cat "$2" ;;
+%F) echo "day $((now / 86400))" ;;
+%H) printf '%02d\\n' $((now / 3600 % 24)) ;;
+%M) printf '%02d\\n' $((now / 60 % 60)) ;;
esac
""",
    "sleep": "echo $(($(cat clock) + $1)) >clock",
    "touch": 'date +%F >"$1"',
    "shuf": "echo 2400",
    "logger": 'shift 4; echo "$*" >>log',
    "reboot": 'echo "reboot at $(date +%H):$(date +%M)" >>log',
    "uname": "echo 6.12.1",
    "apk": """
case $* in
*"list --upgradable") cat list ;;
*upgrade*) echo "apk ${*##*--quiet }" >>log; [ ! -e modules/6.12.1 ] || mv modules/6.12.1 modules/6.12.2 ;;
esac
""",
}
UPGRADABLE = "linux-virt-6.12.2-r0 x86_64 {linux} (GPL-2.0-only) [upgradable from: linux-virt-6.12.1-r0]\n"
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.template:
        src: {role}/templates/updates.apk.j2
        dest: "{{{{ playbook_dir }}}}/job"
        mode: '0755'
      vars: {{host_updates_hold: [docker-engine], host_updates_reboot: true, host_updates_reboot_time: '02:15'}}
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("job")
    (folder / "play.yml").write_text(PLAY.format(role=ROOT / "roles/host_updates"))
    running.playbook(folder)
    return (folder / "job").read_text()


@pytest.fixture
def host(tmp_path: Path, job: str) -> Path:
    """Return a host whose kernel has an update."""
    (tmp_path / "bin").mkdir()
    for name, text in PROGRAMS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "modules/6.12.1").mkdir(parents=True)
    (tmp_path / "modules/6.12.1/modules.dep").touch()
    (tmp_path / "list").write_text(UPGRADABLE)
    (tmp_path / "log").touch()
    text = job.replace("/lib/modules", f"{tmp_path}/modules").replace("/var/lib/slipway", str(tmp_path / "state"))
    (tmp_path / "job").write_text(text)
    return tmp_path


def run(host: Path, day: int, hour: int, *arguments: str) -> int:
    """Have cron call the job at that hour; return its exit status."""
    (host / "clock").write_text(f"{day * 86400 + hour * 3600}")
    env = {"PATH": f"{host}/bin:/usr/bin:/bin", "TMPDIR": str(host)}
    return subprocess.run(["sh", "job", *arguments], cwd=host, env=env, timeout=30, check=False).returncode


def log(host: Path) -> list[str]:
    return (host / "log").read_text().splitlines()


def test_packages_are_upgraded_once_a_day(host: Path) -> None:
    (host / "list").write_text(
        f"{UPGRADABLE}docker-engine-2-r0 x86_64 {{x}} (y) [upgradable from: docker-engine-1-r0]\n"
    )
    assert [run(host, 1, hour) for hour in (1, 2, 3)] == [0, 0, 0]
    assert [line for line in log(host) if line.startswith("apk")] == ["apk upgrade linux-virt"]
    run(host, 2, 5)
    assert len([line for line in log(host) if line.startswith("apk")]) == 2


def test_a_list_that_names_no_package_is_no_empty_list(host: Path) -> None:
    (host / "list").write_text("linux-virt-6.12.2-r0 newer than linux-virt-6.12.1-r0\n")
    assert run(host, 1, 0, "now") == 1
    assert "no package named in: linux-virt-6.12.2-r0 newer" in log(host)[0]
    (host / "list").write_text("")
    assert run(host, 1, 0, "now") == 0


def test_it_reboots_at_its_time_though_the_upgrade_outlasts_that(host: Path) -> None:
    """The upgrade of the first day ends at 2:40, after the time of the reboot; never is it at another time."""
    assert [run(host, 1, hour) for hour in (1, 2, 3)] == [0, 0, 0]
    assert not [line for line in log(host) if line.startswith("reboot")]
    run(host, 2, 1)
    run(host, 2, 2)
    assert log(host)[-1] == "reboot at 02:15"
    # What was left for after it.
    (host / "log").write_text("")
    (host / "modules/6.12.2").rename(host / "modules/6.12.1")
    run(host, 2, 3)
    assert log(host)[0] == "apk upgrade linux-virt"


def test_it_reboots_on_the_same_day_where_there_is_time(host: Path) -> None:
    (host / "job").write_text((host / "job").read_text().replace("= 02 ]", "= 03 ]"))
    run(host, 1, 2)
    run(host, 1, 3)
    assert log(host)[-1] == "reboot at 03:15"


def test_nothing_reboots_by_hand_or_without_a_new_kernel(host: Path) -> None:
    run(host, 1, 2, "now")
    run(host, 1, 4)
    assert not [line for line in log(host) if line.startswith("reboot")]
    (host / "modules/6.12.2").rename(host / "modules/6.12.1")
    (host / "list").write_text("")
    run(host, 2, 2)
    run(host, 3, 2)
    assert not [line for line in log(host) if line.startswith("reboot")]
