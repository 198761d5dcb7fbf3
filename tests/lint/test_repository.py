"""What holds for the repository as a whole: where things come from, and that tests are tests."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repository import ROOT, files, load, strings

HOST = re.compile(r"https?://(?:[^/@\s\"']*@)?([\w-]+(?:\.[\w-]+)+)")


def _pip_hosts() -> set[str]:
    """Return where pip goes by itself (its source says so) and by this machine's configuration."""
    spec = importlib.util.find_spec("pip")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    index = Path(spec.submodule_search_locations[0]) / "_internal/models/index.py"
    built_in = re.findall(r"[\"'](?:https://)?([\w-]+(?:\.[\w-]+)+)/?[\"']", index.read_text())
    configured = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False)
    return {*built_in, *HOST.findall(configured.stdout)}


def _npm_hosts() -> set[str]:
    if shutil.which("npm") is None:
        return set()
    found = [
        subprocess.run(["npm", *arguments], capture_output=True, text=True, check=False).stdout
        # The second as npm would have it without any configuration.
        for arguments in (
            ["config", "get", "registry"],
            ["config", "get", "registry", "--userconfig=/dev/null", "--globalconfig=/dev/null"],
        )
    ]
    return set(HOST.findall("\n".join(found)))


def _apt_hosts() -> set[str]:
    folder = Path("/etc/apt")
    paths = [folder / "sources.list", *folder.glob("sources.list.d/*")]
    return {host for path in paths if path.is_file() for host in HOST.findall(path.read_text(errors="ignore"))}


def test_no_registry_is_named() -> None:
    """A machine says itself where its packages come from; a host named here would go past that."""
    hosts = _pip_hosts() | _npm_hosts() | _apt_hosts()
    assert hosts, "no host found to look for"
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(host)}\b" for host in sorted(hosts)))
    findings = []
    for path in files():
        text = path.read_bytes().decode(errors="ignore")
        findings += [f"{path.relative_to(ROOT)}: {match}" for match in sorted(set(pattern.findall(text)))]
    assert not findings, "\n" + "\n".join(findings)


def test_the_lock_names_no_place() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", lock, re.MULTILINE)


def test_collections_are_those_that_the_lock_brings() -> None:
    """requirements.yml is for those who install ansible-core alone; they get the same versions."""
    spec = importlib.util.find_spec("ansible")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parents[1] / "ansible_collections"
    wanted = re.findall(r"name: (\w+)\.(\w+)\n\s+version: '([^']+)'", (ROOT / "requirements.yml").read_text())
    assert wanted
    for namespace, name, version in wanted:
        manifest = (folder / namespace / name / "MANIFEST.json").read_text()
        assert re.search(rf'"version": "{re.escape(version)}"', manifest), f"{namespace}.{name} {version}"


# Folders of what tests need, not of tests.
NO_TESTS = {"action_plugins", "data", "files", "fixtures", "mutations"}


def folders_of_tests() -> list[Path]:
    """Return the folders below tests/ that shall hold tests."""
    return sorted(
        path
        for path in ROOT.glob("tests/**/")
        if path != ROOT / "tests" and not {*path.relative_to(ROOT).parts} & {*NO_TESTS, "__pycache__"}
    )


@pytest.mark.parametrize("folder", folders_of_tests(), ids=lambda path: path.name)
def test_no_folder_of_tests_is_empty(folder: Path) -> None:
    """pytest passes over an empty folder without a word."""
    tests = [path for path in folder.rglob("test_*.py") if re.search(r"^def test_", path.read_text(), re.MULTILINE)]
    assert tests


# Ansible runs modules by itself, and files of a role get their mode where they are put.
NOT_RUN_HERE = {"modules", "module_utils", "library", "templates", "files"}


def test_programs_are_executable_and_texts_are_not() -> None:
    findings = []
    for path in files():
        if {*path.parts} & NOT_RUN_HERE:
            continue
        with path.open("rb") as file:
            program = file.read(2) == b"#!"
        executable = bool(path.stat().st_mode & 0o111)
        if program != executable:
            findings.append(f"{path.relative_to(ROOT)}: {'not ' if program else ''}executable")
    assert not findings


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@every_workflow
def test_workflows_call_targets_and_files_that_are_there(path: Path) -> None:
    text = "\n".join(strings([job.get("steps") for job in load(path)["jobs"].values()]))
    called = set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    assert called
    assert called <= targets()
    assert all((ROOT / name).exists() for name in re.findall(r"\btests/[\w/.]+", text))


@every_workflow
def test_actions_are_pinned_and_may_only_read(path: Path) -> None:
    """By their major version at least; a job that writes says so itself."""
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d[\w.]*|[0-9a-f]{40})", one)] == []


def test_hooks_run_what_the_project_pins() -> None:
    """Each hook calls a program of .venv, as `make lint` does, or the Makefile."""
    entries = [hook["entry"] for repo in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for entry in entries:
        program, *words = entry.split()
        if program == "make":
            assert set(words) <= targets()
            continue
        assert program.startswith(".venv/bin/"), entry
        assert (ROOT / program).exists(), entry
        line = " ".join([program.removeprefix(".venv/"), *(word for word in words if word != "--force-exclude")])
        assert line.replace("bin/", "$(bin)/") in recipe, entry
