"""The summary at the end of a run, by real runs of ansible-playbook on this machine."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.unit.one_host import SITE

REPOSITORY = Path(__file__).parents[2]
FINGERPRINT = ":".join(["ab"] * 32)
EXPIRY = datetime.now(UTC) + timedelta(days=89, hours=12)
SECRET = "correct-horse-battery"

# What the last playbook gives, and more than it should.
DATA: dict[str, Any] = {
    "sites": [
        {**SITE, "admin": {"password": SECRET}},
        {"name": "docs", "type": "static", "url": "https://docs.example.test:8443", "host": "vm2"},
    ],
    "ca_certificate": "/somewhere/ca.crt",
    "hosts": [
        {
            "name": "vm1",
            "provider": "compose",
            "become_password": SECRET,
            "ssh": {
                "name": "vm1",
                "host": "192.0.2.7",
                "port": 2222,
                "user": "operator",
                "private_key": "/somewhere/id",
                "known_hosts": "/somewhere/known_hosts",
                "password": SECRET,
            },
            "backends": {"database": {"host": "192.0.2.8", "port": 22, "password": SECRET}, "cache": {}},
        },
        {"name": "vm2", "provider": "native", "ssh": {"name": "vm2"}, "backends": {}},
    ],
    "logins": [
        {
            "site": "blog",
            "url": "https://blog.example.test/wp-admin/",
            "user": "captain",
            "password": "/somewhere/secrets/blog_wordpress_captain",
            "hash": SECRET,
        }
    ],
    "notes": ["vm1: out of reach"],
    "secrets_dir": "/somewhere/secrets",
    "certificates": [
        {
            "host": "vm1",
            "name": "blog",
            "names": ["blog.example.test", "www.blog.example.test"],
            "fingerprint": FINGERPRINT,
            "not_after": EXPIRY.strftime("%Y%m%d%H%M%SZ"),
        }
    ],
}

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Run the quick one
      ansible.builtin.include_role: {name: quick}
    - name: Run the slow one
      ansible.builtin.include_role: {name: slow}
"""

ROLES = {
    "quick": "[{name: Do next to nothing, ansible.builtin.command: 'true'}]",
    # The work is done by the inner role, and by a handler.
    "slow": """
- {name: Notify, ansible.builtin.command: 'true', notify: Work}
- {name: Let another role work, ansible.builtin.include_role: {name: inner}}
- {name: Flush, ansible.builtin.meta: flush_handlers}
""",
    "inner": "[{name: Work, ansible.builtin.command: sleep 2}]",
}
HANDLERS = {"slow": "[{name: Work, ansible.builtin.command: sleep 2}]"}


@dataclass
class Run:
    """One run of ansible-playbook and what it left behind."""

    returncode: int
    output: str
    file: Path

    @property
    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.file.read_text())
        return content


class Project:
    """A folder with a playbook of two roles and, if wanted, the summary's play at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        for role, tasks in ROLES.items():
            (folder / "roles" / role / "tasks").mkdir(parents=True)
            (folder / "roles" / role / "tasks/main.yml").write_text(tasks)
        for role, handlers in HANDLERS.items():
            (folder / "roles" / role / "handlers").mkdir()
            (folder / "roles" / role / "handlers/main.yml").write_text(handlers)

    def summarize(self, **changes: Any) -> str:
        """Return the last play, in JSON, which is YAML too."""
        data = {**DATA, "state_dir": str(self.state), **changes}
        task = {"ansible.builtin.set_stats": {"data": {"slipway_summary": data}}}
        play = [{"hosts": "localhost", "gather_facts": False, "tags": "always", "tasks": [task]}]
        return json.dumps(play)[1:-1]

    def run(self, playbook: str, *arguments: str, **environment: str) -> Run:
        (self.folder / "site.yml").write_text(playbook)
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "site.yml"]
        command += ["-i", "localhost,", "-c", "local"]
        command += ["-e", f"ansible_python_interpreter={sys.executable}", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr, self.state / "summary.json")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def with_summary(project: Project, **changes: Any) -> str:
    return f"{PLAYBOOK}- {project.summarize(**changes)}\n"


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run, which several tests look at."""
    project = Project(tmp_path_factory.mktemp("complete"))
    return project.run(with_summary(project))


def test_a_person_reads_where_everything_is(complete: Run) -> None:
    assert complete.returncode == 0, complete.output
    for text in [
        "https://blog.example.test",
        "https://docs.example.test:8443",
        "/somewhere/ca.crt",
        "/somewhere/secrets",
        FINGERPRINT.upper(),
        f"{EXPIRY.date().isoformat()} (89 days left)",
        "www.blog.example.test",
        "blog  https://blog.example.test/wp-admin/  captain  /somewhere/secrets/blog_wordpress_captain",
        "vm1: out of reach",
    ]:
        assert text in complete.output


def test_a_person_reads_which_of_several_hosts_serves_what(complete: Run, project: Project) -> None:
    assert re.search(r"docs +static +https://docs.example.test:8443 +vm2$", complete.output, re.MULTILINE)
    assert "vm1: blog for blog.example.test" in complete.output
    alone = project.run(with_summary(project, hosts=DATA["hosts"][:1], notes=[]))
    assert "vm1" not in alone.output


def test_roles_are_listed_by_time_and_the_inner_counts_to_the_outer(complete: Run) -> None:
    table = complete.output.partition("Time per role")[2].split()
    assert table.index("slow") < table.index("quick")
    assert "inner" not in table
    durations = complete.summary["durations"]
    assert durations["slow"] >= 4
    assert durations["quick"] < durations["slow"]
    assert durations["total"] >= durations["slow"] + durations["quick"]


def test_the_file_tells_programs_the_same(complete: Run) -> None:
    summary = complete.summary
    first = DATA["sites"][0]
    assert summary["sites"][0] == {key: first[key] for key in first if key != "admin"}
    assert summary["ca_certificate"] == "/somewhere/ca.crt"
    one, other = summary["hosts"]
    assert (one["name"], one["provider"], one["ssh"]["user"]) == ("vm1", "compose", "operator")
    assert one["backends"] == {"database": {"host": "192.0.2.8", "port": 22}, "cache": {}}
    assert (other["name"], other["provider"]) == ("vm2", "native")
    assert summary["secrets_dir"] == "/somewhere/secrets"
    certificate = summary["certificates"][0]
    assert certificate["fingerprint"] == FINGERPRINT.upper()
    assert datetime.fromisoformat(certificate["not_after"]) == EXPIRY.replace(microsecond=0)


def test_no_secret_is_printed_or_kept(complete: Run) -> None:
    assert SECRET not in complete.output
    assert SECRET not in complete.file.read_text()
    assert stat.S_IMODE(complete.file.stat().st_mode) == 0o600
    assert [found.name for found in complete.file.parent.iterdir()] == ["summary.json"]


def test_check_mode_prints_and_keeps_nothing(project: Project) -> None:
    run = project.run(with_summary(project), "--check")
    assert "https://blog.example.test" in run.output
    assert not run.file.exists()


def test_a_run_that_failed_leaves_the_file_alone(project: Project) -> None:
    project.state.mkdir()
    (project.state / "summary.json").write_text('{"sites": []}')
    # One host fails, the other gets to the end.
    play = {"hosts": "all", "gather_facts": False}
    task = {"ansible.builtin.command": "test {{ inventory_hostname }} = localhost"}
    failing = json.dumps({**play, "tasks": [task]})
    run = project.run(f"- {failing}\n{with_summary(project)}", "-i", "other,")
    assert run.returncode != 0
    assert run.summary == {"sites": []}
    assert "stays as it was" in run.output


def test_a_run_by_tags_keeps_the_durations_of_the_last_full_run(project: Project) -> None:
    project.state.mkdir()
    before = {"mariadb": 12.5, "total": 30.0}
    (project.state / "summary.json").write_text(json.dumps({"durations": before}))
    run = project.run(with_summary(project, secrets_dir="/elsewhere"), "--tags", "none-of-the-roles")
    assert run.summary["secrets_dir"] == "/elsewhere"
    assert run.summary["durations"] == before


def test_without_data_only_the_times_are_printed(project: Project) -> None:
    run = project.run(PLAYBOOK)
    assert "Time per role" in run.output
    assert "Sites" not in run.output
    assert not run.file.exists()


def test_a_run_without_data_and_roles_says_nothing(project: Project) -> None:
    run = project.run("- {hosts: localhost, gather_facts: false, tasks: []}")
    assert run.returncode == 0
    assert "SLIPWAY" not in run.output


def test_it_works_with_mitogens_strategy(project: Project) -> None:
    spec = find_spec("ansible_mitogen")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    strategies = Path(spec.submodule_search_locations[0]) / "plugins/strategy"
    run = project.run(
        with_summary(project),
        ANSIBLE_STRATEGY="mitogen_linear",
        ANSIBLE_STRATEGY_PLUGINS=str(strategies),
    )
    assert run.returncode == 0, run.output
    assert run.summary["durations"]["slow"] >= 0.8
    assert "https://blog.example.test" in run.output


HOLD = """
- hosts: localhost
  gather_facts: false
  vars: {__slipway_exclusive: true}
  tasks:
    - name: Work
      ansible.builtin.shell: echo begin >>log; while ! test -e go; do sleep 0.1; done; echo end >>log
"""


class Pair:
    """Two runs of one playbook that works until it is let go on."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.log = project.folder / "log"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        (self.project.folder / "site.yml").write_text(HOLD)
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "site.yml", "-i", "localhost,", "-c", "local"]
        fixed = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "HOME": str(self.project.folder)}
        return subprocess.Popen(
            [*command, "-e", f"ansible_python_interpreter={sys.executable}", *arguments],
            cwd=self.project.folder,
            env={**os.environ, **fixed, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, text: str) -> None:
        until(lambda: self.log.exists() and text in self.log.read_text())

    def go_on(self) -> None:
        (self.project.folder / "go").touch()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def pair(project: Project) -> Pair:
    return Pair(project)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError("".join(lines))


def test_a_second_run_on_a_host_says_so_and_waits(pair: Pair) -> None:
    first = pair.start()
    pair.wait_for("begin")
    second = pair.start()
    line = read_until(second, "another run is at work there")
    assert f"process {first.pid} since" in line
    pair.go_on()
    assert first.wait(60) == 0
    assert second.wait(60) == 0
    # One after the other.
    assert pair.log.read_text().split() == ["begin", "end", "begin", "end"]


def test_a_run_that_was_killed_holds_nothing(pair: Pair) -> None:
    """Its worker lives on for a while, and holds nothing either."""
    first = pair.start()
    pair.wait_for("begin")
    first.kill()
    first.wait(60)
    pair.log.unlink()
    second = pair.start()
    pair.wait_for("begin")
    pair.go_on()
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert "another run" not in output


def test_other_hosts_and_check_mode_wait_for_nobody(pair: Pair) -> None:
    first = pair.start()
    pair.wait_for("begin")
    other = pair.start("--check")
    output, _ = other.communicate(timeout=60)
    assert other.returncode == 0, output
    assert "another run" not in output
    pair.go_on()
    assert first.wait(60) == 0


def test_a_run_that_waited_long_enough_ends_with_one_line(pair: Pair) -> None:
    folder = pair.project.folder / "impatient"
    folder.mkdir()
    plugin = (REPOSITORY / "plugins/callback/slipway.py").read_text()
    (folder / "slipway.py").write_text(plugin.replace("PATIENCE = 600", "PATIENCE = 1"))
    first = pair.start()
    pair.wait_for("begin")
    second = pair.start(ANSIBLE_CALLBACK_PLUGINS=str(folder), ANSIBLE_CALLBACKS_ENABLED="slipway")
    output, _ = second.communicate(timeout=60)
    assert second.returncode != 0
    (line,) = [line for line in output.splitlines() if line.startswith("[ERROR]")]
    assert f"localhost: another run is still at work there (process {first.pid} since" in line
    assert pair.log.read_text().split() == ["begin"]
    pair.go_on()
    assert first.wait(60) == 0


def test_filters_and_tests_are_loaded_before_the_first_fork() -> None:
    """In a process of its own, since this one has loaded them already."""
    program = (
        "from ansible.plugins.loader import filter_loader, init_plugin_loader, test_loader\n"
        "from plugins.callback.slipway import CallbackModule\n"
        "init_plugin_loader()\n"
        "loaders = [filter_loader, test_loader]\n"
        "assert not any(loader._cached_non_collection_wrappers for loader in loaders)\n"
        "CallbackModule().v2_playbook_on_start(None)\n"
        "assert all(loader._cached_non_collection_wrappers for loader in loaders)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
