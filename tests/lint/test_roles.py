"""What every role promises: its files, its specification, its defaults and its README agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.repository import ROLE_NAMES, ROOT, load, strings
from tools import role_readme

OPTION_LISTS = {
    (role, entry): options
    for role in ROLE_NAMES
    for entry, options in role_readme.entry_points(ROOT / "roles" / role).items()
}


def defaults(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "defaults/main.yml") or {}


def options(role: str) -> dict[str, Any]:
    """Return the top options of all entry points of a role."""
    return {k: v for (owner, _), spec in OPTION_LISTS.items() if owner == role for k, v in spec.items()}


def lazy(value: Any) -> bool:
    """Tell whether a value is worked out only when it is used."""
    return any("{{" in text for text in strings(value))


@pytest.mark.parametrize("role", ROLE_NAMES)
@pytest.mark.parametrize(
    "file", ["README.md", "meta/main.yml", "meta/argument_specs.yml", "defaults/main.yml", "tasks/main.yml"]
)
def test_a_role_has_the_files_of_a_role(role: str, file: str) -> None:
    path = ROOT / "roles" / role / file
    assert path.exists(), f"{path.relative_to(ROOT)} is missing"
    assert path.read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_specification_and_defaults_agree(role: str) -> None:
    specified, given = options(role), defaults(role)
    findings = [f"{name}: not in meta/argument_specs.yml" for name in given.keys() - specified.keys()]
    for name, option in specified.items():
        if option.get("required"):
            if name in given:
                findings.append(f"{name}: is required, but has a default")
        elif name not in given:
            # A variable without a default may be left unset, and then means nothing.
            if "default" in option:
                findings.append(f"{name}: has a default in the specification only")
        elif lazy(given[name]):
            if "default" in option:
                findings.append(f"{name}: its default is an expression; the specification can't give it")
        elif option.get("default") != given[name]:
            expected, found = given[name], option.get("default")
            findings.append(f"{name}: {expected!r} in the defaults, {found!r} in the specification")
    assert not findings, "\n".join(sorted(findings))


@pytest.mark.parametrize(("role", "entry"), OPTION_LISTS)
def test_defaults_are_allowed_by_the_specification(role: str, entry: str) -> None:
    spec = {k: {**v, "required": False} for k, v in OPTION_LISTS[role, entry].items()}
    given = {k: v for k, v in defaults(role).items() if k in spec and not lazy(v)}
    assert not ArgumentSpecValidator(spec).validate(given).error_messages


def _unexplained(spec: dict[str, Any], prefix: str = "") -> list[str]:
    result = []
    for name, option in spec.items():
        if not option.get("description") or not option.get("type"):
            result.append(f"{prefix}{name}")
        result += _unexplained(option.get("options") or {}, f"{prefix}{name}.")
    return result


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_every_option_has_a_type_and_a_description(role: str) -> None:
    assert not _unexplained(options(role))


def _visible_secrets(spec: dict[str, Any], prefix: str = "") -> list[str]:
    result = []
    for name, option in spec.items():
        secret = re.search(r"(^|_)(password|secret|salts|token)$", name)
        # update_password and its like say when, not what.
        if secret and not option.get("no_log") and not option.get("choices"):
            result.append(f"{prefix}{name}")
        result += _visible_secrets(option.get("options") or {}, f"{prefix}{name}.")
    return result


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_secret_options_are_marked_as_such(role: str) -> None:
    assert not _visible_secrets(options(role))


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_public_and_private_names_stay_in_their_places(role: str) -> None:
    findings = [f"defaults: {name}" for name in defaults(role) if not name.startswith(f"{role}_")]
    for path in sorted((ROOT / "roles" / role).glob("vars/**/*.yml")):
        names = load(path) or {}
        findings += [f"{path.name}: {n}" for n in names if not n.startswith(f"__{role}_")]
    assert not findings, f"a name in vars/ beats the inventory, so it must be private: {findings}"


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_every_default_has_a_comment(role: str) -> None:
    path = ROOT / "roles" / role / "defaults/main.yml"
    bare, commented = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            commented = True
        elif not line.strip():
            commented = False
        # One comment may speak for the variables right below it.
        elif (match := re.match(r"(\w+):", line)) and not commented:
            bare.append(match[1])
    assert not bare


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_the_readme_shows_the_specification(role: str) -> None:
    folder = ROOT / "roles" / role
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert role_readme.updated(folder) == readme, "out of date; run `make docs`"


def settled(value: Any, option: dict[str, Any]) -> Any:
    """Return a value of an example with something of the right type in place of each expression."""
    kind, inner = option.get("type"), option.get("options", {})
    if isinstance(value, str) and "{{" in value:
        return {"dict": {}, "list": [], "int": 1, "bool": True}.get(str(kind), value)
    if isinstance(value, list):
        return [settled(entry, {"type": option.get("elements"), "options": inner}) for entry in value]
    if isinstance(value, dict):
        return {key: settled(entry, inner.get(key, {})) for key, entry in value.items()}
    return value


def examples(role: str) -> list[Any]:
    readme = ROOT / "roles" / role / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def variables(value: Any, known: set[str]) -> dict[str, Any]:
    """Return the variables of this repository's roles that are set anywhere in an example."""
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        for key, inner in value.items():
            if str(key).startswith(tuple(f"{role}_" for role in known)):
                found[key] = inner
            else:
                found |= variables(inner, known)
    elif isinstance(value, list):
        for inner in value:
            found |= variables(inner, known)
    return found


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_the_readme_has_two_examples_that_the_specification_allows(role: str) -> None:
    found = examples(role)
    assert len(found) >= 2, "a README has two worked examples"
    spec = {name: {**option, "required": False} for owner in ROLE_NAMES for name, option in options(owner).items()}
    for example in found:
        given = variables(example, set(ROLE_NAMES))
        given = {name: settled(value, spec.get(name, {})) for name, value in given.items()}
        assert not ArgumentSpecValidator(spec).validate(given).error_messages


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_the_platforms_of_the_vars_files_are_known(role: str) -> None:
    """A vars file of a misspelt platform would never be loaded."""
    for path in (ROOT / "roles" / role).glob("vars/*.yml"):
        assert re.fullmatch(r"main|compose|native|(Debian|Ubuntu|Alpine)(-\d+(\.\d+)?)?", path.stem), path.name


def test_roles_are_strangers_to_each_others_vars() -> None:
    """A private name of another role would break the day that role changes."""
    findings = []
    for role in ROLE_NAMES:
        others = [other for other in ROLE_NAMES if other != role]
        for path in _sources(ROOT / "roles" / role):
            text = path.read_text(encoding="utf-8")
            for other in others:
                # The stack's services are made through the role container_stack, which answers so.
                if other != "container_stack" and re.search(rf"\b__{other}_", text):
                    findings.append(f"{path.relative_to(ROOT)}: __{other}_")
    assert not findings


def _sources(folder: Path) -> list[Path]:
    parts = ("tasks", "handlers", "templates", "vars", "defaults")
    return [path for part in parts for path in sorted((folder / part).rglob("*")) if path.is_file()]
