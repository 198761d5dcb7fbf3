"""What a release consists of: the same bytes each time, installed without a network, and usable from another folder."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.repository import ROOT, load
from tools import dist

BIN = Path(sys.executable).parent
PAGE = (ROOT / "docs/collection.md").read_text(encoding="utf-8")
# What nobody needs who uses the collection.
DEVELOPMENT = {"tests", "lab", "molecule", "bench", "tools", "Makefile", "ansible.cfg", "pyproject.toml", "galaxy.yml"}


def blocks(kind: str) -> list[str]:
    """Return the examples of a kind on the page about the collection."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def run(folder: Path, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a project, as somebody who has no checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PIP_"))}
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "400", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def archive() -> bytes:
    return dist.build_collection(dist.last_commit())


@pytest.fixture(scope="module")
def project(archive: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a folder with the collection, and with what the page says a project has."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "slipway-stack.tar.gz").write_bytes(archive)
    (folder / "ansible.cfg").write_text(blocks("ini")[0], encoding="utf-8")
    install = ("collection", "install", "--offline", "-p", "collections", "slipway-stack.tar.gz")
    done = run(folder, BIN / "ansible-galaxy", *install)
    assert done.returncode == 0, done.stdout
    (copy,) = [block for block in blocks("sh") if block.startswith("cp ")]
    assert run(folder, "sh", "-ec", copy).returncode == 0
    hosts = {"hosts": {"vm1": {"ansible_connection": "local", "ansible_become": False}}}
    groups = load(ROOT / "inventory/hosts.yml")["all"]["children"]
    hosts |= {"children": {name: {"hosts": {"vm1": {}}} for name in groups}}
    (folder / "inventory/hosts.yml").write_text(yaml.safe_dump({"all": hosts}), encoding="utf-8")
    yield folder
    shutil.rmtree(folder / "collections")


def test_built_twice_it_is_the_same(archive: bytes) -> None:
    assert dist.build_collection(dist.last_commit()) == archive


def test_it_has_what_its_users_need_alone(archive: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        names = opened.getnames()
    tops = {name.partition("/")[0] for name in names}
    assert {"roles", "plugins", "playbooks", "inventory", "meta", "MANIFEST.json", "FILES.json"} <= tops
    assert tops & DEVELOPMENT == set()
    assert [name for name in names if name.startswith(".") or "__pycache__" in name] == []


def test_neither_order_nor_time_of_a_build_is_left() -> None:
    def build(names: list[str], mtime: int) -> bytes:
        entries = [{"name": name, "ftype": "file", "chksum_sha256": "0"} for name in names]
        manifest = {"file_manifest_file": {"chksum_sha256": str(mtime)}}
        files = {"MANIFEST.json": manifest, "FILES.json": {"files": entries}, **{name: name for name in names}}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                data = json.dumps(content).encode()
                info.size, info.mtime, info.uid, info.uname = len(data), mtime, mtime, f"user{mtime}"
                opened.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    assert build(["a", "b"], 1) != build(["b", "a"], 2)
    assert dist.normalized(build(["a", "b"], 1), 3) == dist.normalized(build(["b", "a"], 2), 3)


def test_the_whole_run_is_found_in_a_project(project: Path) -> None:
    done = run(project, BIN / "ansible-playbook", "slipway.stack.site", "-i", "inventory", "--syntax-check")
    assert done.returncode == 0, done.stdout
    assert "ERROR" not in done.stdout


def test_without_the_callbacks_a_line_says_what_is_missing(project: Path) -> None:
    arguments = ("slipway.stack.site", "-i", "inventory", "--syntax-check")
    # Short names are no names there.
    for enabled in ("timer", "slipway, slipway_inventory"):
        done = run(project, BIN / "ansible-playbook", *arguments, ANSIBLE_CALLBACKS_ENABLED=enabled)
        assert done.returncode != 0
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
        assert "callbacks_enabled = slipway.stack.slipway, slipway.stack.slipway_inventory" in line
        assert f"{project}/ansible.cfg" in line


PLAY = r"""
- name: Use the collection as others do
  hosts: vm1
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: Ask a role, whose filters must be found
      ansible.builtin.include_role: {name: slipway.stack.service_unit, tasks_from: validate}
      vars:
        service_unit_units: [{name: one, description: One, command: /bin/true, type: oneshot}]
        ansible_facts: {os_family: Debian, service_mgr: systemd}
    - name: Call a module
      slipway.stack.host_state:
    - name: Call an action
      slipway.stack.managed_files:
        files:
          - path: "{{ playbook_dir }}/written"
            content: "{{ '\"a b\"' | slipway.stack.service_unit_shell }}"
            mode: '0644'
            owner: "{{ uid }}"
            group: "{{ gid }}"
- name: Call them as the collection's own playbooks do
  hosts: vm1
  gather_facts: false
  collections: [slipway.stack]
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: Call a module
      host_state:
    - name: Call an action
      managed_files:
        files:
          - {path: "{{ playbook_dir }}/short", content: short, mode: '0644', owner: "{{ uid }}", group: "{{ gid }}"}
"""


@pytest.mark.parametrize("strategy", ["linear", "slipway.stack.slipway_fast"])
def test_roles_modules_and_filters_work_from_a_project(project: Path, strategy: str) -> None:
    (project / "own.yml").write_text(PLAY, encoding="utf-8")
    me = ("-e", f"uid={os.getuid()} gid={os.getgid()}")
    done = run(project, BIN / "ansible-playbook", "own.yml", "-i", "inventory", *me, ANSIBLE_STRATEGY=strategy)
    assert done.returncode == 0, done.stdout
    assert (project / "written").read_text() == "'a b'"
    assert (project / "short").read_text() == "short"
    # The summary knows the role by its own name, as in the checkout.
    assert re.search(r"^  service_unit +\d", done.stdout, re.MULTILINE)


def test_what_is_kept_lies_in_the_project(project: Path) -> None:
    """Not in the collection, which the next release replaces."""
    arguments = ("-i", "inventory", "-m", "ansible.builtin.debug", "-a", "var=slipway_state_dir")
    done = run(project, BIN / "ansible", "vm1", *arguments, ANSIBLE_STRATEGY="linear")
    assert f"slipway_state_dir: {project}/.slipway" in done.stdout


def test_two_inventories_share_nothing(project: Path) -> None:
    shutil.copytree(project / "inventory", project / "staging")
    for name, state in (("inventory/hosts.yml", ".slipway"), ("staging", "staging/.slipway")):
        arguments = ("-i", name, "-m", "ansible.builtin.debug", "-a", "var=slipway_secrets_dir")
        done = run(project, BIN / "ansible", "vm1", *arguments, ANSIBLE_STRATEGY="linear")
        assert f"slipway_secrets_dir: {project}/{state}/secrets" in done.stdout


LOCK = """# written by a program
one==1.0 \\
    --hash=sha256:11 \\
    --hash=sha256:12
    # via slipway (pyproject.toml)
two==2.0 ; platform_python_implementation != 'PyPy' \\
    --hash=sha256:21
    # via
    #   one
    #   tester
tester==3.0 \\
    --hash=sha256:31
    # via slipway (pyproject.toml)
three==4.0 \\
    --hash=sha256:41
    # via two
"""


def test_the_controller_gets_what_it_runs_on() -> None:
    part = dist.runtime_requirements(LOCK, ["One>=1.0"])
    assert [line.split("==")[0] for line in part.splitlines() if "==" in line] == ["one", "three", "two"]
    assert part.count("--hash=") == 4
    with pytest.raises(dist.DistError, match="lacks four"):
        dist.runtime_requirements(LOCK, ["four"])


def test_the_lock_can_be_divided() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    part = dist.runtime_requirements((ROOT / "requirements.lock").read_text(), project["dependencies"])
    names = set(re.findall(r"^([a-z0-9._-]+)==", part, re.MULTILINE))
    assert {"ansible", "ansible-core", "cffi", "cryptography", "markupsafe", "mitogen", "pyyaml"} <= names
    assert names & {"pytest", "ruff", "molecule", "ansible-lint", "paramiko"} == set()
    assert "# via" not in part


def test_changes_are_told_before_anything_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dist, "_run", lambda *_: " M README.md\n")
    assert dist.main(["--output", str(tmp_path / "dist")]) == 1
    assert not (tmp_path / "dist").exists()


def test_versions_agree() -> None:
    galaxy, project = load(ROOT / "galaxy.yml"), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert galaxy["version"] == project["version"]
    wanted = {one["name"]: f">={one['version']}" for one in load(ROOT / "requirements.yml")["collections"]}
    assert galaxy["dependencies"] == wanted
    environment = load(ROOT / "meta/execution-environment.yml")["dependencies"]
    assert all((ROOT / path).is_file() for path in environment.values())
    lines = (ROOT / environment["python"]).read_text().splitlines()
    assert {line for line in lines if line[:1] not in ("", "#")} <= set(project["dependencies"])


@pytest.mark.full
def test_a_project_is_made_without_a_network(tmp_path: Path) -> None:
    """By the commands of the page, with nothing but the files of a release; which are the same when built again."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        assert dist.main(["--allow-changes", "--output", str(folder)]) == 0
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second
    assert len(first) == 3
    project = folders[0]
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    # No index answers there, and no configuration names another.
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://192.0.2.1/", "HOME": str(tmp_path)}
    path = f"{tmp_path}:{os.environ['PATH']}"
    (commands,) = [block for block in blocks("sh") if block.startswith("sha256sum ")]
    done = run(project, "sh", "-ec", commands, PATH=path, **nowhere)
    assert done.returncode == 0, done.stdout
    (project / "ansible.cfg").write_text(blocks("ini")[0], encoding="utf-8")
    shutil.copytree(project / "collections/ansible_collections/slipway/stack/inventory", project / "inventory")
    arguments = ("slipway.stack.site", "-i", "inventory", "--syntax-check")
    done = run(project, ".venv/bin/ansible-playbook", *arguments, HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert f"{project}/collections/" in done.stdout
