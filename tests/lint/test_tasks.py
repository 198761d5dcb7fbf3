"""Conventions of tasks that ansible-lint doesn't know: secrets, providers, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes

from tests.repository import COMPONENTS, ROLE_NAMES, ROLES, ROOT, Task, all_tasks, load, strings
from tools import role_readme

TASKS = all_tasks()
# They print none of what they hand on; the tasks they bring in are looked at by themselves.
INCLUDES = ("include_tasks", "import_tasks", "include_role", "import_role", "include_vars")
# None of these is printed: conditions show as they are written, the rest says how, not what.
SILENT_KEYS = ("name", "when", "changed_when", "failed_when", "until", "loop_control", "register", "notify")

SECRET = re.compile(
    r"(^|_)(password|passwords|passwd|passphrase|secret|secrets|salts|salt_seed|token|private_?key|credentials)$"
)
# They say where a secret lies, or when it is used; or what /etc/passwd says, which anybody may read.
HARMLESS = re.compile(r"(_(dir|path|paths|file|names?)|update_password|getent_passwd)$")
KEY_FILE = re.compile(r"\.(key|pem)\b")
# Modules that show none of the secrets they are told; each has a test of that.
DISCREET = ("wordpress_state",)
# Modules that bring the contents of a file into their result or into a diff.
READERS = ("slurp", "fetch", "copy", "template", "lineinfile", "blockinfile", "get_url")


def secret_name(name: str) -> bool:
    """Tell whether a name is that of a secret's value."""
    return bool(SECRET.search(name.lower()) and not HARMLESS.search(name.lower()))


def _holders(options: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield every option at any depth, and whether it or anything in it is a secret."""
    for name, option in options.items():
        inner = list(_holders(option.get("options") or {}))
        yield from inner
        yield name, bool(option.get("no_log")) or any(secret for _, secret in inner)


@cache
def secret_holders() -> set[str]:
    """Return the variables and options that hold secrets further down, as the specifications say.

    The list of sites is the playbooks', so no specification has it.
    """
    return {"slipway_sites", "__slipway_sites", "__slipway_made"} | {
        name
        for role in ROLES
        for options in role_readme.entry_points(role).values()
        for name, secret in _holders(options)
        if secret
    }


@cache
def environment() -> jinja2.Environment:
    """Return a parser that takes any filter or test: nothing is rendered with it."""

    class Anything(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            return True

        def __missing__(self, key: str) -> Any:
            return lambda *_: None

    made = jinja2.Environment(autoescape=False, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])  # noqa: S701
    made.filters, made.tests = Anything(), Anything()
    return made


# What may be done with a list that holds secrets without showing them.
PICKS = (
    "map",
    "selectattr",
    "rejectattr",
    "length",
    "count",
    "slipway_site_errors",
    "slipway_unknown_timezones",
    "slipway_foreign_accounts",
    "slipway_most_workers",
    "slipway_summary_sites",
    "slipway_summary_logins",
    "wordpress_accounts",
    "wordpress_folders",
    "wordpress_files",
)


def _used_whole(parents: list[nodes.Node]) -> bool:
    """Tell whether what stands below these nodes is used as it is, not just one key of its entries."""
    for parent in reversed(parents):
        if isinstance(parent, nodes.Filter):
            return parent.name.removeprefix("slipway.stack.") not in PICKS
        if isinstance(parent, nodes.For | nodes.Getattr | nodes.Compare | nodes.Test):
            return False
    return True


def _mentions(node: nodes.Node, parents: list[nodes.Node]) -> Iterator[str]:
    if isinstance(node, nodes.Name):
        if secret_name(node.name) or (node.name in secret_holders() and _used_whole(parents)):
            yield node.name
    elif isinstance(node, nodes.Getattr):
        if secret_name(node.attr) or (node.attr in secret_holders() and _used_whole(parents)):
            yield node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        if secret_name(str(node.arg.value)):
            yield str(node.arg.value)
    elif isinstance(node, nodes.Const) and isinstance(node.value, str):
        if node.value.endswith(".j2"):
            yield from template_secrets(node.value)
        elif _is_map_of_secret(node, parents):
            yield node.value
    for child in node.iter_child_nodes():
        yield from _mentions(child, [*parents, node])


def _is_map_of_secret(node: nodes.Const, parents: list[nodes.Node]) -> bool:
    """Tell whether this is the attribute in map(attribute='password')."""
    return bool(
        parents
        and isinstance(parents[-1], nodes.Keyword)
        and parents[-1].key == "attribute"
        and secret_name(node.value)
    )


def text_secrets(text: str) -> set[str]:
    """Return the secrets that a text with expressions would show."""
    return set(_mentions(environment().parse(text), []))


@cache
def template_secrets(name: str) -> frozenset[str]:
    """Return the secrets in the templates of this name, those they include counted in."""
    found: set[str] = set()
    for path in ROOT.glob(f"roles/*/templates/**/{Path(name).name}"):
        found |= text_secrets(path.read_text(encoding="utf-8"))
    return frozenset(found)


def expressions(value: Any) -> Iterator[str]:
    return (text for text in strings(value) if "{{" in text or "{%" in text)


def task_secrets(task: Task) -> set[str]:
    """Return what a task would show that it must not."""
    if task.module is None or task.module.rsplit(".", 1)[-1] in INCLUDES:
        return set()
    module = task.module.rsplit(".", 1)[-1]
    if module in DISCREET:
        return set()
    if module == "assertions":
        # Nothing of them shows but the messages.
        return {
            secret
            for check in task.arguments["checks"]
            for secret in task_secrets(
                replace(task, content={"a.b.debug": {"msg": check["fail_msg"]}, "vars": check.get("vars")})
            )
        }
    shown = {key: value for key, value in task.content.items() if key not in SILENT_KEYS}
    # A variable of the task counts where it is used; its own expression shows nothing.
    used = shown.pop("vars", None) or {}
    found: set[str] = set()
    texts = list(expressions(shown))
    names = {name for text in texts for name in re.findall(r"\w+", text)}
    texts += [text for name, value in used.items() if name in names for text in expressions(value)]
    if module == "assert":
        texts.append("{{ " + " and ".join(map(str, _as_list(task.arguments.get("that")))) + " }}")
        texts = [text for text in texts if not text.startswith("{{ ")] + list(expressions(task.arguments))
    for text in texts:
        found |= text_secrets(text)
    arguments = task.arguments if isinstance(task.arguments, dict) else {}
    if module == "template":
        found |= template_secrets(str(arguments.get("src", "")))
    for key, value in arguments.items():
        if secret_name(str(key)) and value not in ("*", "!", None):
            found.add(str(key))
    if module in READERS and KEY_FILE.search(f"{arguments.get('src', '')}{arguments.get('path', '')}"):
        found.add("the contents of a key")
    return found


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def test_the_search_knows_a_secret_when_it_sees_one() -> None:
    """The search itself: a search that finds nothing would pass for ever."""
    path = ROOT / "playbooks/any.yml"

    def shows(**content: Any) -> set[str]:
        return task_secrets(Task(path, content, no_log=False))

    assert shows(**{"a.b.mysql_user": {"name": "x", "password": "{{ item.password }}"}})
    assert shows(**{"a.b.command": {"argv": "{{ site['admin']['password'] }}"}})
    assert shows(**{"a.b.debug": {"msg": "{{ mariadb_users }}"}})
    assert shows(**{"a.b.mysql_db": {"name": "x"}, "loop": "{{ mariadb_users }}"})
    assert shows(**{"a.b.debug": {"msg": "{{ site.admin }}"}})
    assert not shows(**{"a.b.debug": {"msg": "{{ site.admin.name }}"}})
    assert shows(**{"a.b.debug": {"msg": "{{ ftp_accounts | map(attribute='password') }}"}})
    assert shows(**{"a.b.copy": {"content": "{{ lookup('ansible.builtin.template', 'users.acl.j2') }}"}})
    assert shows(**{"a.b.template": {"src": "users.acl.j2"}})
    assert shows(**{"a.b.slurp": {"src": "/etc/slipway/tls/blog.key"}})
    assert shows(**{"a.b.command": {"stdin": "{{ wanted }}"}, "vars": {"wanted": "{{ x.salts }}"}})
    assert shows(**{"a.b.openssl_csr": {"privatekey_passphrase": "{{ x }}"}})
    assert shows(**{"a.b.uri": {"url": "{{ item.domain }}"}, "loop": "{{ __slipway_sites }}"})
    assert not shows(**{"a.b.uri": {"url": "{{ item }}"}, "loop": "{{ __slipway_sites | map(attribute='domain') }}"})
    assert not shows(**{"a.b.debug": {"msg": "{{ mariadb_users | map(attribute='name') }}"}})
    assert not shows(**{"a.b.file": {"path": "{{ slipway_secrets_dir }}"}})
    assert not shows(**{"a.b.assert": {"that": "site.password | length > 11", "fail_msg": "too short"}})
    assert shows(**{"a.b.assert": {"that": "x", "fail_msg": "{{ site.password }} is too short"}})
    assert not shows(**{"a.b.user": {"name": "blog", "password": "*"}})
    assert not shows(assertions={"checks": [{"that": "site.password | length > 11", "fail_msg": "too short"}]})
    assert shows(assertions={"checks": [{"that": "x", "fail_msg": "{{ x.password }}"}]})
    assert shows(assertions={"checks": [{"that": "x", "fail_msg": "{{ it }}", "vars": {"it": "{{ x.password }}"}}]})


# Jinja takes the backslashes of our regular expressions as they are, and so does Ansible.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_every_task_that_handles_a_secret_has_no_log() -> None:
    findings = [
        f"{task.where}: {', '.join(sorted(found))}"
        for task in TASKS
        if not task.no_log and (found := task_secrets(task))
    ]
    assert not findings, "\n" + "\n".join(findings)


# Task files that playbooks call by themselves and that need the provider's values.
ENTRY_POINTS = ("main.yml", "dump.yml")


def provider_branches(role: str, *parts: str) -> list[str]:
    """Return the lines in these folders of a role that ask which provider it is."""
    folder = ROOT / "roles" / role
    word = re.compile(rf"\b({role}|slipway)_provider\b")
    include = re.compile(rf"((include_\w+|import_\w+|file): .*|platform_files\(.*)\b{role}_provider\b")
    findings = []
    for path in (path for part in parts for path in sorted((folder / part).rglob("*"))):
        # What can't work is refused in a file of its own, and there is one for what both that and the role load.
        if not path.is_file() or path.name in ("validate.yml", "load.yml"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            included = path in (folder / "tasks" / name for name in ENTRY_POINTS) and include.search(line)
            if word.search(line) and not included:
                findings.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return findings


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_nothing_but_the_include_branches_on_the_provider(role: str) -> None:
    """A reader finds the provider in one place: tasks/main.yml, which includes its file."""
    findings = provider_branches(role, "tasks", "handlers", "vars")
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_templates_know_no_provider(role: str) -> None:
    """The file is the same file for all providers; the differences are variables."""
    findings = provider_branches(role, "templates")
    assert not findings, "\n" + "\n".join(findings)


GERUND = re.compile(r"[A-Z][a-z]{2,}ing\b")


def name_faults(task: Task) -> Iterator[str]:
    """Yield what is wrong with the name of a task; a block may go without."""
    name = task.name
    if not name:
        if task.module is not None:
            yield "has no name"
        return
    is_main = task.path.stem == "main" or task.path.parent.name not in ("tasks", "handlers")
    prefix, bar, rest = name.rpartition(" | ")
    if not is_main and prefix != task.path.stem:
        yield f"doesn't start with '{task.path.stem} | '"
    if is_main and bar and task.path.parent.name == "tasks":
        yield "has a prefix, though it is in main.yml"
    if not rest[:1].isupper():
        yield "doesn't start with a capital"
    if GERUND.match(rest):
        yield "isn't imperative"
    if rest.endswith("."):
        yield "ends with a full stop"


def test_task_names_are_imperative_and_tell_their_file() -> None:
    findings = [f"{task.where}: {fault}" for task in TASKS for fault in name_faults(task)]
    assert not findings, "\n" + "\n".join(findings)


def test_state_verbs_stand_in_handlers_alone() -> None:
    """A second run changes nothing, so no task restarts or recreates by itself."""
    findings = [
        task.where
        for task in TASKS
        if "handlers" not in task.path.parts
        and isinstance(task.arguments, dict)
        and (task.arguments.get("state") in ("restarted", "reloaded") or task.arguments.get("recreate") == "always")
    ]
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_no_task_holds_what_belongs_to_one_distribution(role: str) -> None:
    """OS data lies in vars/, so that a new platform is a new file there."""
    word = re.compile(r"os_family'\] *(==|!=|in|not in)\b|ansible_distribution|\bansible\.builtin\.(apt|yum|dnf):")
    findings = []
    for path in sorted((ROOT / "roles" / role).glob("tasks/**/*.yml")):
        if path.name == "validate.yml":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if word.search(line):
                findings.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_every_file_of_tasks_is_used(role: str) -> None:
    """A file nobody includes is forgotten work; those named by a variable are named by their values."""
    folder = ROOT / "roles" / role / "tasks"
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/tasks/**/*.yml"))
    text += "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("playbooks/**/*.yml"))
    values = set(strings(load(ROOT / "roles" / role / "meta/argument_specs.yml")))
    by_variable = {"native", "compose", "systemd", "openrc"} | values
    unused = [
        path.name
        for path in folder.glob("*.yml")
        if path.stem not in {"main"} | by_variable and not re.search(rf"\b{path.stem}(\.yml)?\b", text)
    ]
    assert not unused


def test_tasks_that_are_included_in_a_loop_may_loop_themselves() -> None:
    """Else Ansible warns on every run that the variable item is already in use."""
    looping = [
        task.where
        for task in TASKS
        if (task.module or "").rpartition(".")[2] in ("include_role", "include_tasks")
        and "loop" in task.content
        and not (task.content.get("loop_control") or {}).get("loop_var")
    ]
    assert looping == []


def test_filters_are_called_by_their_full_names() -> None:
    """A collection's own files find its modules by short names, and no filter."""
    modules = [import_module(f"plugins.filter.{path.stem}") for path in ROOT.glob("plugins/filter/*.py")]
    names = [name for module in modules for name in module.FilterModule().filters()]
    assert "slipway_site_errors" in names
    short = re.compile(rf"(?:\|[-+]?\s*|(?:map|select|reject)\(\s*')({'|'.join(names)})\b")
    folders = ("roles", "playbooks", "inventory", "molecule", "tests")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".yml", ".j2")]
    findings = [f"{path.relative_to(ROOT)}: {name}" for path in paths for name in short.findall(path.read_text())]
    assert not findings


# Packages that a run can't install with those of all others, and why.
APART = {
    "docker_engine": "its first start goes by what is configured before",
    "ftp": "as it is packaged it lets the host's own accounts in, on a port that is open by then",
    "static_site": "nobody gets git or http-server for other sites, and the latter comes without what it recommends",
}


@pytest.mark.parametrize("role", sorted({component["role"] for component in COMPONENTS} | {"tls_certificate"}))
def test_packages_of_a_role_are_announced_to_the_whole_run(role: str) -> None:
    """Which installs them for all roles at once."""
    installing = [
        task.arguments["names"]
        for task in TASKS
        if task.module == "packages"
        and task.path.is_relative_to(ROOT / "roles" / role)
        and task.arguments.get("install", True)
        and task.arguments.get("state") != "absent"
    ]
    assert role in APART or set(installing) == {f"{{{{ __{role}_host_packages }}}}"}


@pytest.mark.parametrize("role", [name for name in ROLE_NAMES if name != "service_unit"])
def test_a_role_asserts_its_settings_unless_the_whole_run_has(role: str) -> None:
    """By its own name: that of another role would leave out its assertions."""
    includes = [
        task.content["when"]
        for task in TASKS
        if task.path == ROOT / "roles" / role / "tasks/main.yml" and task.name == "Validate the settings"
    ]
    assert includes == [f"__{role}_validated is not defined"]
