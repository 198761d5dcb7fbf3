"""The documentation names only what there is: links, files, targets, variables, keys; and its examples work."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.filter import slipway_sites
from tests.repository import ROLE_NAMES, ROOT, files, load
from tools import platform_table, role_readme

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("lab/**/*.md")],
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
every_page = pytest.mark.parametrize("page", PAGES, ids=IDS)

FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def examples(page: Path) -> Iterator[dict[str, Any]]:
    """Yield the YAML examples of a page; expressions are long texts."""
    for _, kind, block in FENCED.findall(text(page)):
        if kind == "yaml":
            found = yaml.safe_load(textwrap.dedent(block))
            assert isinstance(found, dict), block
            yield found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.*)$", FENCED.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    findings = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text(page))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            findings.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(file):
            findings.append(f"{target}: no such heading")
    assert not findings


@every_page
def test_make_targets_are_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^ +|&& |linear )make ([a-z][a-z-]*)", text(page), re.MULTILINE))
    assert named <= targets, f"no such target: {named - targets}"


@every_page
def test_files_of_the_repository_are_there(page: Path) -> None:
    """Names of files below the folders of the repository; what a run or the lab makes is left out."""
    tops = "docs|examples|lab|playbooks|plugins|roles|tests|tools"
    named = set(re.findall(rf"`((?:{tops})/[\w./-]+)`", text(page)))
    missing = [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()]
    assert not missing


def test_every_file_of_tests_is_in_the_page_on_testing() -> None:
    named = set(re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)`", text(ROOT / "docs/testing.md")))
    # One for each role, said of all of them at once.
    there = {path.name for path in ROOT.glob("tests/**/test_*.py") if path.parent.name != "roles"}
    assert named == there


def known_variables() -> set[str]:
    """Return the variables of the roles, their entry points included, and those of the inventory and playbooks."""
    found = {
        name
        for role in ROLE_NAMES
        for options in role_readme.entry_points(ROOT / "roles" / role).values()
        for name in options
    }
    sources = [*ROOT.glob("inventory/group_vars/all/*.yml"), *ROOT.glob("playbooks/**/*.yml"), ROOT / "ansible.cfg"]
    return found | set(re.findall(r"\bslipway_\w+", "\n".join(text(source) for source in sources)))


def keys(rules: Any, prefix: str = "") -> Iterator[str]:
    """Yield every key a site may have, nested ones by their path."""
    for name, rule in rules.items():
        inner = rule[0] if isinstance(rule, list) else rule
        if isinstance(inner, dict):
            yield from keys(inner, f"{prefix}{name}{'[]' if isinstance(rule, list) else ''}.")
        else:
            yield f"{prefix}{name}"


def site_keys() -> list[str]:
    return [key for rules in slipway_sites._KEYS.values() for key in keys(rules)]


@every_page
def test_variables_are_known(page: Path) -> None:
    """Whatever begins like a variable; plugins, scenarios and a site's keys begin so too."""
    named = set(re.findall(rf"(?<![/\w])(?:{'|'.join(ROLE_NAMES)}|slipway)_[a-z_]+\b(?!-)", text(page)))
    others = {path.stem for path in ROOT.glob("plugins/*/*.py")} | set(ROLE_NAMES) | set(site_keys())
    others |= {path.name for path in ROOT.glob("molecule/*")}
    # The table of the firewall.
    others.add("slipway_firewall")
    # The names of volumes begin with that of the Compose project.
    volumes = {name for name in named if name.startswith(("slipway_wordpress_", "slipway_php_"))}
    assert named - known_variables() - others - volumes == set()


@every_page
def test_examples_are_accepted(page: Path) -> None:
    """Lists of sites by the filter that refuses, inventories by the groups there are, variables by their names."""
    groups = set(load(ROOT / "inventory/hosts.yml")["all"]["children"])
    for example in examples(page):
        # What comes from the Vault is long enough.
        sites = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "x" * 12, yaml.safe_dump(example.get("slipway_sites", []))))
        assert slipway_sites.site_errors(sites) == []
        assert set(example.get("all", {}).get("children", {})) <= groups
        for name in example:
            assert name in {"slipway_sites", "all"} or name in known_variables() or name.startswith("vault_"), name


def test_every_key_of_a_site_is_described() -> None:
    described = set(re.findall(r"^\| `([^`]+)` \|", text(ROOT / "docs/sites.md"), re.MULTILINE))
    allowed = set(site_keys())
    assert allowed <= described
    # And nothing that isn't there: rows with a type are keys.
    rows = re.findall(r"^\| `([^`]+)` \| (?:text|list|whole)", text(ROOT / "docs/sites.md"), re.MULTILINE)
    assert {row for row in rows if row != "users"} <= allowed


def test_refused_names_are_listed() -> None:
    """Those of the table are refused, and what is refused is in the table; of patterns, an example is."""
    section = re.search(r"\*\*Names\.\*\*.*?\*\*Domains\.\*\*", text(ROOT / "docs/sites.md"), re.DOTALL)
    assert section
    rows = re.findall(r"^\| (`.*?) \|", section.group(), re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    patterns = list(slipway_sites._RESERVED.values())
    # All that begin so are refused.
    whole = {f"{name}x" if name.endswith("-") else name for name in names}
    assert {name for name in whole if not any(pattern.fullmatch(name) for pattern in patterns)} == set()
    refused = {part for pattern in patterns for part in pattern.pattern.split("|")}
    assert {part for part in refused if not any(re.fullmatch(part, name) for name in whole)} == set()


def test_the_table_of_platforms_is_what_a_run_accepts() -> None:
    readme = text(platform_table.README)
    sources = (text(platform_table.REQUIREMENTS), text(platform_table.MATRIX))
    assert platform_table.updated(readme, *sources) == readme, "out of date; run `make docs`"


def listed(marker: str) -> set[str]:
    """Return the files that a list of CONTRIBUTING.md names; what stands for several is left out."""
    block = re.search(rf"<!-- {marker} -->\n(.*?)<!-- /{marker} -->", text(ROOT / "CONTRIBUTING.md"), re.DOTALL)
    assert block
    return {name for name in re.findall(r"`([\w./-]+)`", block.group(1)) if "/" in name or (ROOT / name).exists()}


@pytest.mark.parametrize("marker", ["platform files", "service files"])
def test_files_to_touch_are_there(marker: str) -> None:
    assert listed(marker)
    assert {name for name in listed(marker) if not (ROOT / name).is_file()} == set()


def test_every_file_that_knows_a_service_is_listed() -> None:
    """Whoever adds one finds the places by this list: those that name an existing one, or list the groups."""
    own = {"playbooks/provide-cache.yml", "molecule/shared/vars/redis_cache.yml", "playbooks/install-engine.yml"}
    folders = ("playbooks/", "plugins/", "inventory/", "lab/", "molecule/shared/", "tools/", "bench/")
    known = {
        name
        for name in (str(path.relative_to(ROOT)) for path in files())
        if (name.startswith(folders) or name in {"site.yml", "Makefile", "tests/rendered.py"})
        and not name.endswith(".md")
        and re.search(r"\b(redis_cache(_\w+)?|docker_hosts|provide-cache)\b", text(ROOT / name))
    }
    assert known - own - listed("service files") == set()
