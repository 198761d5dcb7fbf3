"""Every role has its scenarios, and each of them tests something."""

from __future__ import annotations

import re

import pytest
from molecule.interpolation import Interpolator, TemplateWithDefaults

from lab import platforms
from tests.repository import ROLE_NAMES, ROOT, load
from tools import scenarios

MOLECULE = ROOT / "molecule"
NAMES = sorted(path.parent.name for path in MOLECULE.glob("*/molecule.yml"))
every_scenario = pytest.mark.parametrize("name", NAMES)
# Roles that are for one provider alone, or know none: what their scenario is called.
OTHERS = {"container_stack": "container_stack_compose"}


def wanted(role: str) -> list[str]:
    """Return the scenarios a role shall have: one for each of its providers, or one."""
    tasks = ROOT / "roles" / role / "tasks"
    found = {"native": role, "compose": f"{role}_compose"}
    return [name for provider, name in found.items() if (tasks / f"{provider}.yml").exists()] or [
        OTHERS.get(role, role)
    ]


@pytest.mark.parametrize("role", [*ROLE_NAMES, "site"])
def test_a_role_has_a_scenario_for_each_provider(role: str) -> None:
    names = ["site", "site_compose"] if role == "site" else wanted(role)
    assert [name for name in names if name not in NAMES] == []


@every_scenario
def test_a_scenario_is_a_few_lines(name: str) -> None:
    text = (MOLECULE / name / "molecule.yml").read_text(encoding="utf-8")
    assert [path.name for path in (MOLECULE / name).iterdir()] == ["molecule.yml"]
    assert len(text.splitlines()) <= (20 if name.startswith("site") else 4)
    assert load(MOLECULE / name / "molecule.yml")["scenario"]["name"] == name


@every_scenario
def test_molecule_can_fill_in_the_variables_of_a_scenario(name: str) -> None:
    """Its placeholders are not a shell's: an empty default is none of them."""
    filled = Interpolator(TemplateWithDefaults, {"MOLECULE_LANE": "2"}).interpolate(
        (MOLECULE / name / "molecule.yml").read_text(encoding="utf-8")
    )
    assert "$" not in filled


@every_scenario
def test_a_scenario_is_of_a_role_and_verifies_it(name: str) -> None:
    role = name.removesuffix("_compose")
    assert role in [*ROLE_NAMES, "site"]
    assert load(MOLECULE / "shared/vars" / f"{role}.yml").get("scenario_breaks")
    folder = ROOT / "tests"
    tests = [*(folder / "acceptance").glob("test_*.py")] if role == "site" else [folder / "roles" / f"test_{role}.py"]
    assert tests
    for path in tests:
        assert re.search(r"^def test_", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_the_runner_knows_the_order_of_all() -> None:
    assert sorted(scenarios.ORDER) == sorted([*ROLE_NAMES, "site"])
    assert sorted(scenarios.scenarios()) == NAMES


def test_no_step_of_the_sequence_is_missing() -> None:
    """Molecule passes over a playbook that isn't there with no more than a warning."""
    config = load(ROOT / ".config/molecule/config.yml")
    names = [step.split()[0] for step in config["scenario"]["test_sequence"]]
    steps = ["create", "prepare", "converge", "idempotence", "side_effect", "side_effect", "verify", "destroy"]
    assert names == steps
    given = [step.split()[1] for step in config["scenario"]["test_sequence"] if " " in step]
    for playbook in [*config["ansible"]["playbooks"].values(), *given]:
        assert (MOLECULE / "site" / playbook).resolve().is_file(), playbook


def test_the_platforms_are_the_lab_s() -> None:
    text = (MOLECULE / "shared/create.yml").read_text(encoding="utf-8")
    listed = re.search(r"__known: \[(.*)\]", text)
    assert listed
    assert sorted(listed[1].split(", ")) == sorted(platforms.PLATFORMS)


@pytest.mark.parametrize(("pattern", "platform", "reason"), scenarios.LEFT_OUT)
def test_what_is_left_out_is_there(pattern: str, platform: str, reason: str) -> None:
    assert [name for name in NAMES if re.fullmatch(pattern, name)]
    assert platform in platforms.PLATFORMS
    assert reason
