"""The role service_unit: filters, module, and every template for both managers, read by real parsers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from plugins.filter import service_unit as filters
from plugins.module_utils import service_declarations as declared
from plugins.module_utils import service_files as files
from plugins.module_utils import service_manager as manager
from plugins.module_utils import service_openrc as openrc
from plugins.module_utils import service_processes as processes
from plugins.module_utils import service_systemd as systemd
from tests.acceptance.waiting import wait_until
from tests.parsers import parsers_with, shell_faults
from tests.repository import ROOT, load
from tools.parsers import PACKAGES

ROLE = ROOT / "roles/service_unit"
FILTERS: Any = filters
VARS = load(ROLE / "vars/main.yml")
MARK = VARS["__service_unit_mark"]
PLACES = declared.Places("/etc/slipway/admit", "/usr/local/libexec/slipway", "/var/log/slipway", "/etc/slipway/init.d")

# A declaration with everything in it, and words that no program may see otherwise.
AWKWARD = """/usr/bin/python3 -c 'import time; print("100 %")' "$HOME" a\\ b * %i ; --"""
WORDS = ["/usr/bin/python3", "-c", 'import time; print("100 %")', "$HOME", "a b", "*", "%i", ";", "--"]
DAEMON: dict[str, Any] = {
    "name": "manual",
    "description": "It's the manual's server, 100 %",
    "command": AWKWARD,
    "stop_command": "/bin/true 'a b'",
    "check_command": "/bin/true --check",
    "signals": {"reload": "HUP", "reopen": "USR1"},
    "user": "www-data",
    "group": "www-data",
    "working_directory": "/var/tmp",
    "after": ["mariadb.service", "network-online", "nginx"],
    "memory_max_mb": 64,
    "nofile_max": 512,
    "writable_paths": ["/var/lib/manual"],
    "sandboxing": {
        "capabilities": ["CAP_NET_BIND_SERVICE"],
        "private_devices": True,
        "address_families": ["AF_UNIX", "AF_INET"],
    },
    "runtime_directories": [{"name": "manual/a", "mode": "0750"}, {"name": "manual/b", "owner": "root"}],
    "readiness": {"port": 8081, "timeout": 20},
}
UNITS: list[dict[str, Any]] = [
    DAEMON,
    {"name": "plain", "description": "As little as may be", "command": "/bin/sleep 1000"},
    {
        "name": "stack",
        "description": "A boot unit",
        "type": "oneshot",
        "command": "/bin/true up --detach",
        "stop_command": "/bin/true stop",
        "after": ["docker", "network-online"],
        "timeout_start": 300,
    },
    {
        "name": "once",
        "description": "As a user",
        "type": "oneshot",
        "command": "/bin/echo 'a  b' '$HOME'",
        "user": "www-data",
    },
    {
        "name": "job",
        "description": "A job, 100 %",
        "type": "task",
        "command": "/bin/echo 'a  b' '$HOME' *",
        "runtime_directories": [{"name": "job"}],
        "timer": {"every_minutes": 5},
    },
    {"name": "hourly", "description": "A job", "type": "task", "command": "/bin/true", "timer": {"every_minutes": 60}},
]
OVERRIDES: list[dict[str, Any]] = [
    {
        "name": "nginx",
        "nofile_max": 65536,
        "memory_max_mb": 256,
        "timeout_start": 20,
        "timeout_stop": 20,
        "admit": {"port": 443, "from": ["192.0.2.1", "192.0.2.128/25", "2001:db8::1"]},
        "sandboxing": {
            "protect_system": "full",
            "protect_home": "yes",
            "tmpfs_mb": 16,
            "private_ipc": True,
            "no_new_privileges": True,
            "capabilities": ["CAP_NET_BIND_SERVICE"],
            "protect_kernel": True,
            "restrict_namespaces": True,
        },
        "writable_paths": ["/var/cache/nginx"],
        "readiness": {"port": 443},
        "openrc": {
            "command": "/usr/sbin/nginx -g 'daemon off;'",
            "check_command": "/usr/sbin/nginx -t -q",
            "signals": {"reload": "HUP", "rotate": "USR1"},
            "stop_signal": "QUIT/20/TERM/5",
            "provides": ["httpd"],
        },
    },
    {
        "name": "mariadb",
        "readiness": {"socket": "/run/mysqld/mysqld.sock"},
        "openrc": {
            "command": "/usr/sbin/mariadbd --user=mysql",
            "runtime_directories": [{"name": "mysqld", "owner": "mysql"}],
            "nofile_max": 2048,
        },
    },
    {"name": "docker", "nofile_max": 1024, "readiness": {"command": "/usr/bin/docker version"}},
]


# -- rendering -----------------------------------------------------------------------------------------------------


def render(template: str, **variables: Any) -> str:
    """Render a template of the role as the role's own tasks do."""
    known = DataLoader().load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True)
    base = {**known, "service_unit_overrides": OVERRIDES, "ansible_search_path": [str(ROLE)], **variables}
    templar = Templar(loader=DataLoader(), variables=base)
    return str(templar.template(trust_as_template(f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}")))


def file(found: list[dict[str, Any]], path: str) -> str:
    """Render one of the files of declarations."""
    (one,) = [one for one in found if one["path"] == path]
    return render(one["src"], **one["vars"])


def on_openrc(units: list[dict[str, Any]], overrides: list[dict[str, Any]], family: str = "Debian") -> declared.OpenRC:
    cron = VARS["__service_unit_families"][family]["cron"]
    return declared.OpenRC(units, overrides, cron, PLACES, MARK)


def service(unit: dict[str, Any]) -> str:
    return file(declared.Systemd([unit], []).files(), f"/etc/systemd/system/{unit['name']}.service")


def drop_in(override: dict[str, Any]) -> str:
    found = declared.Systemd([], [override]).files()
    return file(found, f"/etc/systemd/system/{override['name']}.service.d/slipway.conf")


def script(unit: dict[str, Any]) -> str:
    return file(on_openrc([unit], []).files(), f"/etc/init.d/{unit['name']}")


def stand_in(override: dict[str, Any]) -> str:
    return file(on_openrc([], [override]).files(), f"/etc/init.d/{override['name']}")


def _ids(declarations: list[dict[str, Any]]) -> list[str]:
    return [declaration["name"] for declaration in declarations]


TIMED = [unit for unit in UNITS if "timer" in unit]
LASTING = [unit for unit in UNITS if "timer" not in unit]
STAND_INS = [override for override in OVERRIDES if "openrc" in override]


@pytest.fixture(params=sorted(PACKAGES))
def release(request: pytest.FixtureRequest) -> str:
    """A release of Debian, whose programs read what is written."""
    return str(request.param)


def test_systemd_reads_every_unit(release: str, tmp_path: Path) -> None:
    parsers, _ = parsers_with(release, "systemd-analyze")
    for one in declared.Systemd(UNITS, OVERRIDES).files():
        path = tmp_path / Path(one["path"]).relative_to("/etc/systemd/system")
        path.parent.mkdir(exist_ok=True)
        path.write_text(render(one["src"], **one["vars"]))
    with parsers.stage(tmp_path) as stage:
        faults = parsers.unit_faults(stage.outside, "/usr/bin/python3")
    assert not faults, "\n" + "\n".join(faults)


def test_a_unit_of_a_user_has_no_capability_it_was_not_given() -> None:
    assert "CapabilityBoundingSet=\n" in service({**DAEMON, "sandboxing": {}})
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n" in service(DAEMON)
    assert "CapabilityBoundingSet" not in service(UNITS[1])


def test_a_drop_in_sets_nothing_that_was_not_asked_for() -> None:
    text = drop_in(OVERRIDES[1])
    settings = [line for line in text.splitlines() if "=" in line]
    assert settings == ["StartLimitIntervalSec=0", "Restart=always", "RestartSec=2"]


def test_dependencies_are_named_as_each_manager_names_them() -> None:
    unit = service(DAEMON)
    assert "After=mariadb.service\nAfter=network-online.target\nAfter=nginx.service\n" in unit
    depend = script(DAEMON)
    assert "after mariadb\n    after net\n    after nginx\n" in depend
    assert "network-online" not in depend


def test_an_early_unit_waits_for_neither_the_network_nor_what_waits_for_it() -> None:
    early = {"name": "filter", "description": "Filter", "type": "oneshot", "command": "/usr/sbin/nft", "early": True}
    assert "DefaultDependencies=no\n" in service(early)
    assert "Before=network-pre.target" in service(early)
    depend = script(early).partition("depend() {")[2].partition("}")[0].split("\n")
    told = [line.strip() for line in depend if line.strip() and "#" not in line]
    assert told == ["after localmount mountall", "before net"]
    assert [one["early"] for one in on_openrc([early, DAEMON], []).services()] == [True, False]


def test_limits_of_the_distribution_s_unit_are_for_openrc_alone() -> None:
    assert "rc_ulimit='-n 2048'\n" in stand_in(OVERRIDES[1])
    assert "LimitNOFILE" not in drop_in(OVERRIDES[1])
    assert "LimitNOFILE=65536\n" in drop_in(OVERRIDES[0])


def test_openrc_starts_sshd_before_what_may_take_long() -> None:
    assert "after sshd\n" in script(DAEMON)
    assert "after sshd\n" in stand_in(OVERRIDES[1])
    # But not what sshd itself waits for.
    assert "after sshd" not in script({**DAEMON, "name": "ssh"})
    assert "after sshd" not in stand_in({**OVERRIDES[1], "openrc": {**OVERRIDES[1]["openrc"], "provides": ["dns"]}})


@pytest.mark.parametrize(("minutes", "systemd"), [(1, "*:0/1"), (15, "*:0/15"), (60, "*:00")])
def test_a_timer_is_a_calendar_systemd_knows(minutes: int, systemd: str, release: str) -> None:
    text = render("systemd.timer.j2", unit={**TIMED[0], "timer": {"every_minutes": minutes}})
    assert f"OnCalendar={systemd}\n" in text
    parsers, analyze = parsers_with(release, "systemd-analyze")
    done = parsers.run(analyze, "calendar", systemd)
    assert done.returncode == 0, done.stdout


def _shell_reads(text: str) -> None:
    # Words are quoted so that no shell expands them.
    assert shell_faults(text, "SC2016") == []


@pytest.mark.parametrize("unit", LASTING, ids=_ids(LASTING))
def test_shells_read_the_openrc_script_of_a_unit(unit: dict[str, Any]) -> None:
    text = script(unit)
    assert text.startswith("#!/sbin/openrc-run\n# Written by Slipway")
    assert "{{" not in text
    _shell_reads(text)


@pytest.mark.parametrize("override", STAND_INS, ids=_ids(STAND_INS))
def test_shells_read_the_openrc_script_of_an_override(override: dict[str, Any]) -> None:
    _shell_reads(stand_in(override))


@pytest.mark.parametrize("override", OVERRIDES, ids=_ids(OVERRIDES))
def test_shells_read_the_openrc_settings(override: dict[str, Any]) -> None:
    _shell_reads(render("openrc.conf.j2", override=override))


@pytest.mark.parametrize("unit", TIMED, ids=_ids(TIMED))
def test_shells_read_a_job(unit: dict[str, Any]) -> None:
    _shell_reads(render("openrc.job.j2", unit=unit))


def test_shells_read_what_runs_a_daemon() -> None:
    _shell_reads((ROLE / "files/foreground").read_text())


# -- what a shell makes of the scripts -----------------------------------------------------------------------------


def _shell(text: str, end: str) -> str:
    """Source an OpenRC script without OpenRC, then run ``end``; return what it printed."""
    done = subprocess.run(["sh", "-eu"], input=f"{text}\n{end}\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_openrc_gets_exactly_the_words_of_the_command() -> None:
    """supervise-daemon.sh puts command_args through eval."""
    out = _shell(script(DAEMON), r'eval "set -- $command_args"; printf "%s\n" "$@"')
    assert out.splitlines() == ["manual", *WORDS]


def test_a_stop_signal_becomes_a_schedule() -> None:
    assert "retry=TERM/90/KILL/5\n" in script(UNITS[1])
    assert "retry=QUIT/20/TERM/5\n" in stand_in(OVERRIDES[0])
    quick = {**OVERRIDES[1], "timeout_stop": 7, "openrc": {**OVERRIDES[1]["openrc"], "stop_signal": "INT"}}
    assert "retry=INT/7/KILL/5\n" in stand_in(quick)


def test_a_oneshot_of_a_user_runs_exactly_its_command() -> None:
    text = script(UNITS[3])
    line = re.search(r"timeout 90 su -s /bin/sh www-data -c (.+) >>/var/log/slipway/once.log 2>&1", text)
    assert line is not None
    assert _shell("", f"sh -c {line[1]}") == "a  b $HOME\n"


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_oneshot_runs_its_commands_in_its_folder(tmp_path: Path, verb: str) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    unit = {**UNITS[2], "command": "/bin/pwd", "stop_command": "/bin/pwd", "working_directory": str(folder)}
    text = script(unit).replace("/var/log/slipway", str(tmp_path))
    end = f"ebegin() {{ :; }}; eend() {{ return $1; }}; {verb}; cat {tmp_path}/stack.log"
    assert _shell(text, end) == f"{folder}\n"


def _listens(port: int) -> str:
    """Return the line of /proc/net/tcp for a listener (proc_net_tcp.rst)."""
    return (
        f"   3: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
        "        0 12345 1 0000 100 0 0 10 0\n"
    )


@pytest.mark.parametrize(("port", "ready"), [(443, True), (444, False)])
def test_openrc_waits_for_a_port(tmp_path: Path, port: int, ready: bool) -> None:
    table = tmp_path / "tcp"
    table.write_text("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n" + _listens(port))
    text = stand_in(OVERRIDES[0]).replace("/proc/net/tcp6", "/nonexistent").replace("/proc/net/tcp", str(table))
    assert _shell(text, "if ready; then echo yes; else echo no; fi") == ("yes\n" if ready else "no\n")


UNIX = "Num       RefCount Protocol Flags    Type St Inode Path\n"


@pytest.mark.parametrize(
    ("line", "ready"),
    [
        ("0000000000000000: 00000002 00000000 00010000 0001 01 24681 /run/mysqld/mysqld.sock", True),
        ("ffff8fc8b2e6c400: 00000002 00000000 00010000 0001 01    42 /var/run/mysqld/mysqld.sock", True),
        ("0000000000000000: 00000003 00000000 00000000 0001 03 24681 /run/mysqld/mysqld.sock", False),
        ("0000000000000000: 00000002 00000000 00010000 0001 01 24681 /run/mysqld/mysqldXsock", False),
    ],
)
def test_openrc_and_the_module_wait_for_a_socket(tmp_path: Path, line: str, ready: bool) -> None:
    table = tmp_path / "unix"
    table.write_text(UNIX + line + "\n")
    text = stand_in(OVERRIDES[1]).replace("/proc/net/unix", str(table))
    assert _shell(text, "if ready; then echo yes; else echo no; fi") == ("yes\n" if ready else "no\n")
    assert bool(processes.socket_inodes("/run/mysqld/mysqld.sock", UNIX + line)) is ready


def test_a_job_runs_its_words_and_never_twice_at_once(tmp_path: Path) -> None:
    unit = {**TIMED[0], "runtime_directories": []}
    unit["command"] = f"/bin/sh -c 'echo \"$1 $2\" >>{tmp_path}/ran; sleep 1' sh '$HOME' *"
    path = tmp_path / "job"
    path.write_text(render("openrc.job.j2", unit=unit).replace("/run/slipway", str(tmp_path)))
    runs = [subprocess.Popen(["sh", str(path)]) for _ in range(3)]
    assert [run.wait(10) for run in runs] == [0, 0, 0]
    assert (tmp_path / "ran").read_text() == "$HOME *\n"


@pytest.fixture
def foreground(tmp_path: Path) -> Iterator[Path]:
    """The program that runs a daemon, with its records in a folder of the test's."""
    path = tmp_path / "foreground"
    path.write_text((ROLE / "files/foreground").read_text().replace("/run/slipway", str(tmp_path)))
    (tmp_path / "web").mkdir()
    yield path
    record = tmp_path / "web/session"
    if record.exists():
        subprocess.run(["sh", str(path), "--end", record.read_text().strip()], check=False)


def _members(session: int) -> list[int]:
    return [
        pid
        for pid in processes.all_pids()
        if processes.alive(pid) and processes.stat_fields(pid)[3:4] == [str(session)]
    ]


def test_a_killed_daemon_leaves_nothing_to_the_next(foreground: Path) -> None:
    """As nginx and php-fpm do: the workers go on when the main process is killed."""
    argv = ["sh", str(foreground), "web", "sh", "-c", "sleep 300 & sleep 300 & wait"]
    with subprocess.Popen(argv, start_new_session=True) as first:
        wait_until("its processes are there", lambda: len(_members(first.pid)) == 3, 10, pause=0.05)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    assert len(_members(first.pid)) == 2
    with subprocess.Popen(argv, start_new_session=True) as second:
        wait_until("its processes are there", lambda: len(_members(second.pid)) == 3, 10, pause=0.05)
        assert not _members(first.pid)
        assert (foreground.parent / "web/session").read_text() == f"{second.pid}\n"
        subprocess.run(["sh", str(foreground), "--end", str(second.pid)], check=True)
        second.wait(10)
    assert not _members(second.pid)


def test_a_session_that_is_not_its_own_is_never_ended(foreground: Path) -> None:
    """Run by hand it is no session's leader: the caller's session is no business of the next start."""
    subprocess.run(["sh", str(foreground), "web", "true"], check=True)
    assert not (foreground.parent / "web/session").exists()


# -- filters -------------------------------------------------------------------------------------------------------


def test_a_command_is_words_to_both_managers() -> None:
    assert FILTERS.shell_command(AWKWARD).startswith("/usr/bin/python3 -c 'import time;")
    quoted = FILTERS.systemd_command(AWKWARD)
    assert quoted == '/usr/bin/python3 -c "import time; print(\\"100 %%\\")" $$HOME "a b" "*" %%i ";" --'


def test_an_open_quote_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="can't be split"):
        FILTERS.shell_command("/bin/echo 'open")


def test_capabilities_are_taken_and_given() -> None:
    given = FILTERS.openrc_capabilities(["CAP_NET_BIND_SERVICE"], True).split(",")
    assert given[0] == "^cap_net_bind_service"
    assert "!cap_net_bind_service" not in given
    assert {"!cap_sys_admin", "!cap_kill"} <= set(given)
    kept = FILTERS.openrc_capabilities([]).split(",")
    assert "!cap_kill" not in kept
    assert len(kept) == len(FILTERS.CAPABILITIES) - 1
    with pytest.raises(AnsibleFilterError, match="cap_everything"):
        FILTERS.openrc_capabilities(["CAP_EVERYTHING"])


def test_good_declarations_have_no_faults() -> None:
    assert declared.faults(UNITS, OVERRIDES, ["other"]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../x"}, "'../x' is no name of a unit"),
        ({"name": "gone"}, "'gone' is in service_unit_absent, too"),
        ({"name": "plain"}, "'plain' is there twice"),
        ({"command": "sleep 1"}, "service_unit_units[manual].command: 'sleep 1' does not begin with an absolute path"),
        ({"readiness": {}}, "service_unit_units[manual].readiness: give exactly one of port, socket, command"),
        ({"readiness": {"port": 1, "socket": "/a"}}, "give exactly one"),
        ({"timer": {"every_minutes": 5}}, "a timer and the type 'task' belong together"),
        ({"type": "task"}, "a timer and the type 'task' belong together"),
        ({"type": "task", "timer": {"every_minutes": 61}}, "every_minutes: 61 is not allowed; 1 to 60 are"),
        ({"signals": {"stop": "HUP"}}, "'stop' can't be a command's name"),
        ({"signals": {"reload": "-HUP"}}, "'-HUP' is no signal"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    faults = declared.faults([{**DAEMON, **change}, UNITS[1]], [], ["gone"])
    assert any(said in fault for fault in faults), faults
    assert all("\n" not in fault for fault in faults)


def test_a_fault_of_an_override_names_it() -> None:
    faults = declared.faults([], [{"name": "nginx", "openrc": {"command": "nginx"}}], [])
    assert faults == ["service_unit_overrides[nginx].openrc.command: 'nginx' does not begin with an absolute path"]
    faults = declared.faults([], [{"name": "nginx", "admit": {"port": 80, "from": ["web1"]}}], [])
    assert faults == [
        "service_unit_overrides[nginx].admit.from: 'web1' is neither an address nor a network",
        "service_unit_overrides[nginx].admit: it needs openrc.command, the distribution's script would not ask for it",
    ]


# -- the module ----------------------------------------------------------------------------------------------------


def _openrc(enabled: bool = True, **known: Any) -> Any:
    made: Any = openrc.OpenRC(manager.Service("web", start_timeout=5, **known))
    made.enabled = lambda: enabled
    return made


def _planned(status: manager.Status, enabled: bool = True, changed: tuple[str, ...] = (), **known: Any) -> list[str]:
    return manager.plan(_openrc(enabled, **known), status, set(changed))


def test_what_runs_as_wanted_is_left_alone() -> None:
    assert _planned(manager.Status(running=True, started=time.time())) == []


def test_what_is_stopped_or_broken_is_brought_up() -> None:
    assert _planned(manager.Status(), enabled=False) == ["start", "enable"]
    assert _planned(manager.Status(running=True, broken="unsupervised")) == ["repair"]
    assert _planned(manager.Status(running=True, stale=True)) == ["reload definition"]


def test_only_a_change_since_the_start_restarts(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    path.touch()
    changed = path.stat().st_ctime
    before, after = (manager.Status(running=True, started=changed + shift) for shift in (-10, 10))
    assert _planned(before, files=[str(path)]) == ["restart"]
    assert _planned(after, files=[str(path)]) == []
    assert _planned(before, files=[str(path)], kind="oneshot") == []
    assert _planned(manager.Status(running=True), files=[str(path)]) == []
    assert _planned(before, files=[str(tmp_path / "none")]) == []


def test_check_mode_says_that_a_file_it_left_would_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "unit")
    running = manager.Status(running=True, started=1.0)
    assert _planned(running, files=[path], changed=(path,)) == ["restart"]
    assert _planned(running, files=[path], changed=("/other",)) == []


def test_what_shall_stop_is_stopped_once() -> None:
    running = manager.Status(running=True)
    assert manager.plan_stop(_openrc(), running, disable=True) == ["stop", "disable"]
    assert manager.plan_stop(_openrc(), running, disable=False) == ["stop"]
    assert manager.plan_stop(_openrc(enabled=False), manager.Status(), disable=True) == []
    assert manager.plan_stop(_openrc(), manager.Status(exists=False), disable=True) == []


@pytest.mark.parametrize(
    ("code", "running", "broken"), [(0, True, ""), (3, False, ""), (32, True, "crashed"), (64, True, "unsupervised")]
)
def test_openrc_tells_states_by_code(monkeypatch: pytest.MonkeyPatch, code: int, running: bool, broken: str) -> None:
    monkeypatch.setattr(openrc, "run", lambda *_: (code, ""))
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    status = openrc.OpenRC(manager.Service("web")).status()
    assert (status.running, status.broken) == (running, broken)


def test_several_units_of_systemd_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "LoadState=loaded\nActiveState=active\nMainPID=7\nNeedDaemonReload=yes\nActiveEnterTimestampMonotonic=1\n"
    asked = []

    def run(argv: list[str]) -> tuple[int, str]:
        asked.append(argv)
        return 0, f"{shown}\nLoadState=not-found\nActiveState=inactive\nMainPID=0\n"

    monkeypatch.setattr(systemd, "run", run)
    units = [systemd.Systemd(manager.Service("a")), systemd.Systemd(manager.Service("b", "timer"))]
    first, second = systemd.Systemd.statuses(units)
    assert (first.exists, first.running, first.main_pid, first.stale) == (True, True, 7, True)
    assert not second.exists
    ((*_, a, b),) = asked
    assert (a, b) == ("a.service", "b.timer")


def test_one_that_fails_does_not_keep_the_others_down(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    class Fake(openrc.OpenRC):
        def status(self) -> manager.Status:
            return manager.Status(running=self.name in done)

        def enabled(self) -> bool:
            return True

        def act(self, verb: str) -> None:
            assert verb == "start"
            if self.name == "b":
                raise manager.ServiceError("no")
            done.append(self.name)

    monkeypatch.setattr(manager, "SETTLE", 0.0)
    changes = files.Changes(check=False)
    failed = manager.bring_up([Fake(manager.Service(name, "oneshot")) for name in "abc"], changes)
    assert (failed, done) == (["b: no"], ["a", "c"])
    assert changes.actions == ["a: start", "b: start", "c: start"]


def test_only_listeners_on_the_port_count() -> None:
    header = "  sl  local_address rem_address   st\n"
    assert processes.port_inodes(443, [header + _listens(443)]) == {"12345"}
    assert processes.port_inodes(443, [header + _listens(444), ""]) == set()
    assert processes.port_inodes(443, [header + _listens(443).replace(" 0A ", " 01 ")]) == set()


def test_a_port_that_another_holds_is_no_readiness() -> None:
    """A real listener, of this process: not of the service, and named."""
    import socket  # noqa: PLC0415

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        web = _openrc()
        inodes = processes.port_inodes(port, [files.read("/proc/net/tcp")])
        web.pids = lambda: {1}
        said = manager.why_not_listening(web, inodes, f"port {port}")
        assert re.search(rf"port {port} is held by \S+ .*pid {os.getpid()}.*not by it", said)
        web.pids = lambda: {os.getpid()}
        assert manager.why_not_listening(web, inodes, f"port {port}") == ""


def test_a_failure_is_one_line_with_the_last_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_text("old\n" * 20 + "\x1b[31mbind() failed\x1b[0m\nbind() failed\n")
    web = _openrc(log=str(log), readiness={"port": 1, "timeout": 1}, supervised=True)
    monkeypatch.setattr(web, "status", lambda: manager.Status(running=True, main_pid=2**22 + 1))
    with pytest.raises(manager.ServiceError) as caught:
        manager.wait_until_ready(web, None, time.monotonic() - 2)
    assert str(caught.value) == ("not ready after 1 s: its main process died; its last log lines: old | bind() failed")


def test_a_daemon_without_a_supervisor_is_refused() -> None:
    running = manager.Status(running=True)
    assert manager.why_not_alive(_openrc(supervised=True), running, 0.0) == "no supervisor watches it"
    assert manager.why_not_alive(_openrc(), running, 0.0) == ""


def test_what_a_command_starts_in_the_background_holds_nothing_up() -> None:
    begun = time.monotonic()
    code, out = processes.run(["sh", "-c", "sleep 20 & echo $!"], timeout=10)
    assert (code, time.monotonic() - begun < 5) == (0, True)
    os.kill(int(out), signal.SIGKILL)


# -- files ---------------------------------------------------------------------------------------------------------


def _wanted(path: Path, **more: Any) -> files.Wanted:
    return files.Wanted({"path": str(path), "owner": os.geteuid(), "group": os.getegid(), "mode": "0640", **more})


def test_a_file_is_written_once_and_its_difference_shown(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    checked, done, again = (files.Changes(check) for check in (True, False, False))
    _wanted(path, content="one\n").bring(checked)
    assert not path.exists()
    _wanted(path, content="one\n").bring(done)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one\n", 0o640)
    assert checked.diffs == done.diffs
    assert done.diffs[0]["after"].endswith("one\n")
    assert done.paths == {str(path)}
    number = path.stat().st_ino
    _wanted(path, content="one\n").bring(again)
    assert (again.actions, path.stat().st_ino) == ([], number)
    path.chmod(0o600)
    _wanted(path, content="one\n").bring(again)
    assert (again.actions, path.stat().st_mode & 0o777) == ([f"{path}: write"], 0o640)


MARKER = "# {mark} Slipway"


@pytest.mark.parametrize("before", ["", "a\n", "a", "a\n# BEGIN Slipway\nold\n# END Slipway\nb\n", "# BEGIN Slipway\n"])
@pytest.mark.parametrize("block", ["x=1\ny=2\n", "x=1", None])
def test_a_block_is_what_ansible_makes_of_it(tmp_path: Path, before: str, block: str | None) -> None:
    """Both write to the same files: who comes second changes nothing."""
    path = tmp_path / "conf"
    path.write_text(before)
    arguments = {"path": str(path), "marker": MARKER, "_ansible_remote_tmp": str(tmp_path)}
    arguments |= {"state": "absent"} if block is None else {"block": block}
    mine = files.with_block(before.encode(), MARKER, block)
    done = subprocess.run(
        [sys.executable, "-m", "ansible.modules.blockinfile"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "failed" not in json.loads(done.stdout)
    # But one that has no block is left alone to its last byte.
    assert mine == (before.encode() if block is None and "END" not in before else path.read_bytes())


# -- what goes away ------------------------------------------------------------------------------------------------


def test_units_that_nothing_declares_any_more_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "UNITS", tmp_path)
    for name in ("job-a.service", "job-a.timer", "job-b.service", "job-b.timer", "job-c.service", "old.service"):
        (tmp_path / name).write_text(f"# {MARK}\n")
    (tmp_path / "job-foreign.service").write_text("[Service]\n")

    def gone(absent: list[str], prune: list[str], units: dict[str, bool]) -> list[str]:
        return systemd.gone(absent, prune, units, MARK)

    assert gone([], [], {}) == []
    # A timer that a declaration has lost goes, and stops before its service would.
    assert gone([], ["job-*"], {"job-a": True, "job-b": False}) == ["job-c.service", "job-b.timer"]
    assert gone(["old", "job-foreign", "never"], [], {}) == ["old.service"]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> openrc.Host:
    """Folders of a host with OpenRC whose package manager can't divert."""
    for name in ("init.d", "conf.d", "aside", "jobs", "cron"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(openrc, "SCRIPTS", tmp_path / "init.d")
    monkeypatch.setattr(openrc, "SETTINGS", tmp_path / "conf.d")
    # Nobody but root may give files away.
    monkeypatch.setattr(
        "plugins.module_utils.managed._number", lambda _, kind, **__: os.geteuid() if kind == "owner" else os.getegid()
    )
    return openrc.Host(MARK, False, tmp_path / "aside", tmp_path / "jobs", str(tmp_path / "cron"))


def test_the_distribution_s_script_is_kept_aside_and_comes_back(tmp_path: Path, host: openrc.Host) -> None:
    script, aside = tmp_path / "init.d/web", tmp_path / "aside/web"
    theirs = b"#!/sbin/openrc-run\n# \xff is no UTF-8\n"
    script.write_bytes(theirs)
    host.take_over("web", set(), files.Changes(check=True))
    assert not aside.exists()
    host.take_over("web", set(), files.Changes(check=False))
    assert aside.read_bytes() == theirs
    script.write_text(f"# {MARK}\n")
    (tmp_path / "conf.d/web").write_text("mine=1\n# BEGIN Slipway\nx=1\n# END Slipway\n")
    again = files.Changes(check=False)
    host.take_over("web", set(), again)
    assert again.actions == []
    host.remove("web", set(), again)
    assert script.read_bytes() == theirs
    assert script.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "conf.d/web").read_text() == "mine=1\n"
    assert not aside.exists()
    last = files.Changes(check=False)
    host.remove("web", set(), last)
    assert last.actions == []


def test_an_upgraded_script_comes_back_rather_than_the_one_that_was_there(tmp_path: Path, host: openrc.Host) -> None:
    (tmp_path / "init.d/web").write_text(f"# {MARK}\n")
    (tmp_path / "aside/web").write_text("old\n")
    (tmp_path / "init.d/web.apk-new").write_text("new\n")
    host.remove("web", set(), files.Changes(check=False))
    assert [path.name for path in (tmp_path / "init.d").iterdir()] == ["web"]
    assert (tmp_path / "init.d/web").read_text() == "new\n"


def test_jobs_that_nothing_declares_any_more_are_found_and_removed(tmp_path: Path, host: openrc.Host) -> None:
    for name in ("job-a", "job-b"):
        (tmp_path / "jobs" / name).write_text(f"#!/bin/sh\n# {MARK}\n")
        (tmp_path / "cron" / name).write_text("* * * * * root true\n")
    (tmp_path / "init.d/job-c").write_text("of somebody else\n")
    assert host.gone(["x"], ["job-*"], ["job-a"]) == ["x", "job-b"]
    host.remove("job-b", set(), files.Changes(check=False))
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["job-a"]
    assert [path.name for path in (tmp_path / "cron").iterdir()] == ["job-a"]


@pytest.mark.usefixtures("host")
def test_a_sysv_script_is_told_from_openrc_s(tmp_path: Path) -> None:
    (tmp_path / "init.d/sysv").write_text("#!/bin/sh\n### BEGIN INIT INFO\n")
    (tmp_path / "init.d/own").write_text("#!/sbin/openrc-run\n")
    assert openrc.unsupervised(["own", "none", "sysv"]) == ["sysv"]


# -- the declaration -----------------------------------------------------------------------------------------------


def test_the_families_have_their_values() -> None:
    for values in VARS["__service_unit_families"].values():
        assert values.keys() == {"log_programs", "package_options", "cron", "diverts"}
        # One of the two ways to tell cron.
        assert bool(values["cron"]["folder"]) != bool(values["cron"]["table"])
        assert declared.faults([], values["cron"]["overrides"], []) == []


@pytest.mark.parametrize("family", ["Debian", "Alpine"])
def test_cron_is_told_of_jobs_and_supervised(family: str) -> None:
    kind = on_openrc(TIMED, [], family)
    cron = VARS["__service_unit_families"][family]["cron"]
    name = cron["overrides"][0]["name"]
    assert [one["name"] for one in kind.replaced] == [name]
    assert [(one["name"], one["supervised"]) for one in kind.services()] == [(name, True)]
    times = [one for one in kind.files() if "content" in one]
    assert [one["path"] for one in times] == (
        [f"/etc/cron.d/{unit['name']}" for unit in TIMED] if cron["folder"] else ["/etc/crontabs/root"] * len(TIMED)
    )
    assert ["*/5 * * * * " in times[0]["content"], "0 * * * * " in times[1]["content"]] == [True, True]
    # Nothing of it without jobs.
    assert on_openrc([], [], family).services() == []


def test_the_host_s_own_manager_and_family_are_needed() -> None:
    def said(manager_name: str, own: str, family: str) -> list[str]:
        return declared.host_faults(manager_name, own, ["systemd", "openrc", "openrc"], family, ["Debian"], "vm1")

    assert said("systemd", "systemd", "Debian") == []
    assert said("runit", "systemd", "Debian") == [
        "service_unit_manager: 'runit' is not supported on vm1; allowed: systemd, openrc"
    ]
    (other,) = said("openrc", "systemd", "Debian")
    assert "'openrc' was asked for, but vm1 runs 'systemd'" in other
    assert said("openrc", "openrc", "RedHat") == [
        "service_unit: the OS family 'RedHat' is not supported; allowed: Debian"
    ]
