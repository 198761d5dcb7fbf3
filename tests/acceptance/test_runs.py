"""The playbook on a target it provisioned, and on a bare one: nothing changes, and no secret shows."""

from __future__ import annotations

import copy
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import files
from tests.acceptance import lab_target, runs, served, watching
from tests.acceptance.conftest import Measure
from tests.acceptance.machine import Machine
from tests.acceptance.runs import Run
from tests.acceptance.summary import Summary
from tests.acceptance.web import Client
from tests.repository import ROOT, load

pytestmark = [pytest.mark.lab, pytest.mark.slow]

BARE_HOST = "bare"
# What WordPress itself has found by its daily look: a release of the site's series, and one of the next.
FOUND = """<?php
require __DIR__ . '/wp-load.php';
if (isset($_GET['gone'])) { exit(delete_site_transient('update_core') ? 'done' : 'failed'); }
$releases = [implode('.', array_slice(explode('.', get_bloginfo('version')), 0, 2)) . '.999', '99.0'];
$found = array_map(fn ($one) => (object) ['response' => 'upgrade', 'current' => $one, 'version' => $one], $releases);
$all = ['updates' => $found, 'last_checked' => time(), 'version_checked' => get_bloginfo('version')];
echo set_site_transient('update_core', (object) $all) ? 'done' : 'failed';
"""
# Where the lab serves what the sites below are made of.
DOWNLOADS = "runs"


@pytest.fixture(scope="module")
def second(
    machine: Machine, summary: Summary, tmp_path_factory: pytest.TempPathFactory, measure: Measure
) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """Run the playbook again; return the run, and what was seen of secrets meanwhile here and on the target."""
    secrets = summary.secrets()
    site = summary.of_type("wordpress")[0]
    client = Client(site, summary.ca_certificate)
    with machine.planted(site, FOUND) as path:
        assert client.get(path).text == "done"
    with (
        watching.local_processes(secrets) as end_here,
        machine.background(watching.PROCESSES, json.dumps(secrets)) as end_there,
    ):
        run = runs.run(tmp_path_factory.mktemp("second"))
        here, there = json.loads(end_here()), json.loads(end_there())
    measure("second run", run.seconds)
    with machine.planted(site, FOUND) as path:
        assert client.get(f"{path}?gone").text == "done"
    return run, here, there


def test_a_second_run_changes_nothing(second: tuple[Run, dict[str, Any], dict[str, Any]]) -> None:
    run = second[0]
    assert run.code == 0, run.output[-3000:]
    assert run.changes == []
    assert run.changed == 0
    # What nobody can act on, and comes on every run, hides what somebody should.
    assert "[WARNING]" not in run.output
    assert "[DEPRECATION" not in run.output


def test_a_run_tells_what_it_made(second: tuple[Run, dict[str, Any], dict[str, Any]], summary: Summary) -> None:
    output = second[0].output
    for site in summary.sites:
        assert site.url in output
    assert str(summary.secrets_dir) in output
    assert str(summary.ca_certificate) in output
    # Of the newer releases the one that is meant for this series alone.
    (site, *_) = summary.of_type("wordpress")
    assert re.search(rf"^ +{site.name}: WordPress \d+\.\d+\.999 mends faults of", output, re.MULTILINE)
    assert "WordPress 99.0" not in output
    durations = json.loads(summary.path.read_text(encoding="utf-8"))["durations"]
    assert durations["total"] > 0


def test_a_run_shows_no_secret_to_other_processes(second: tuple[Run, dict[str, Any], dict[str, Any]]) -> None:
    """Neither on the controller nor on the target, on a command line or in an environment."""
    for seen in second[1:]:
        assert seen["rounds"] > 10
        assert seen["found"] == {}


def test_a_run_prints_no_secret(second: tuple[Run, dict[str, Any], dict[str, Any]], summary: Summary) -> None:
    assert [name for name, value in summary.secrets().items() if value in second[0].output] == []


def test_check_mode_reports_no_change(summary: Summary, tmp_path: Path, measure: Measure) -> None:
    """And its differences, had there been any, show no secret either."""
    before = summary.path.read_bytes()
    run = runs.run(tmp_path, "--check", "--diff", "-v")
    measure("--check --diff on the provisioned target", run.seconds)
    assert run.code == 0, run.output[-3000:]
    assert run.changes == []
    assert run.changed == 0
    assert [name for name, value in summary.secrets().items() if value in run.output] == []
    assert "[WARNING]" not in run.output
    assert summary.path.read_bytes() == before


@pytest.fixture
def bare(tmp_path: Path, summary: Summary) -> Iterator[Path]:
    """Return the inventory of a second target of the same platform, on which nothing was done yet."""
    lab = (sys.executable, "-m", "lab")
    create = [*lab, "create", BARE_HOST, "--platform", lab_target.platform(summary)]
    made = subprocess.run(create, cwd=ROOT, capture_output=True, check=True)
    host = {**next(iter(lab_target.hosts().values())), **json.loads(made.stdout)["variables"]}
    groups = load(ROOT / "inventory" / "hosts.yml")["all"]["children"]
    children: dict[str, Any] = {group: {"hosts": {BARE_HOST: {}}} for group in groups}
    path = tmp_path / "bare.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {BARE_HOST: host}, "children": children}}), encoding="utf-8")
    yield path
    subprocess.run([*lab, "destroy", BARE_HOST], cwd=ROOT, check=True)


def language_pack(language: str) -> bytes:
    """Return the smallest pack of a language: a catalogue without a text (GNU gettext manual, 11.3)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{language}.mo", struct.pack("<7I", 0x950412DE, 0, 0, 28, 28, 0, 28))
    return packed.getvalue()


@pytest.fixture(scope="module")
def downloads() -> Iterator[dict[str, Any]]:
    """Return variables with a source of each kind that comes over http, served by the lab."""
    folder = files.FOLDER / DOWNLOADS
    shutil.rmtree(folder, ignore_errors=True)
    pack = files.put(f"{DOWNLOADS}/de_DE.zip", language_pack("de_DE"))
    tool = files.put(f"{DOWNLOADS}/wp-cli.phar", b"<?php echo 'wp-cli';")
    served.archive(folder / "site.tar.gz", {"index.html": "<title>packed</title>"})
    archive = files.publish(folder / "site.tar.gz")
    served.commit(folder / "site", {"index.html": "<title>cloned</title>"}, "one")
    repository = f"{files.ensure()}/{DOWNLOADS}/site/.git"
    sites = copy.deepcopy(list(lab_target.sites().values()))
    admin = {"name": "captain", "email": "captain@example.test"}
    sites += [
        {
            "name": "german",
            "type": "wordpress",
            "domain": "german.example.test",
            "title": "Deutsch",
            "language": "de_DE",
            "admin": admin,
        },
        {
            "name": "boxed",
            "type": "static",
            "domain": "boxed.example.test",
            "source": {"archive": archive.url, "checksum": archive.checksum},
        },
        {
            "name": "copied",
            "type": "static",
            "domain": "copied.example.test",
            "server": "http-server",
            "source": {"git": repository, "version": "one"},
        },
    ]
    yield {
        "slipway_sites": sites,
        "php_fpm_wordpress_language_packs": {"de_DE": {"url": pack.url, "checksum": pack.checksum}},
        "php_fpm_wordpress_wp_cli": True,
        "php_fpm_wordpress_wp_cli_url": tool.url,
        "php_fpm_wordpress_wp_cli_checksum": tool.checksum,
    }
    shutil.rmtree(folder)


def test_check_mode_shows_what_comes_over_http(downloads: dict[str, Any], tmp_path: Path, measure: Measure) -> None:
    """On a host that is provisioned: a language pack, wp-cli, an archive and a repository are added."""
    run = runs.run(tmp_path, "--check", "--diff", variables=downloads)
    measure("--check --diff with more sites", run.seconds)
    assert run.code == 0, run.output[-3000:]
    for task in ("share | Fetch WordPress, language packs and wp-cli", "archive | Fetch the archive"):
        assert [change for change in run.changes if change.endswith(task)], task
    said = " ".join(run.output.split())
    assert "fetch php_fpm_wordpress_language_packs: de_DE" in said
    assert "fetch php_fpm_wordpress_wp_cli_url" in said
    assert "german: WordPress" in said
    assert "boxed: the content would change" in said
    assert "copied: the content would change" in said


def test_check_mode_shows_the_changes_of_wordpress(summary: Summary, tmp_path: Path) -> None:
    """Also where its container would be made anew, and beside a site that isn't there yet."""
    sites = copy.deepcopy(list(lab_target.sites().values()))
    changed = next(site for site in sites if site["type"] == "wordpress")
    old, changed["domain"] = changed["domain"], f"other.{changed['domain']}"
    changed["aliases"] = [old, *changed.get("aliases", [])]
    changed.update(title="Another title", memory_mb=320)
    new = {**copy.deepcopy(changed), "name": "younger", "domain": "younger.example.test", "aliases": []}
    before = summary.path.read_bytes()
    run = runs.run(tmp_path, "--check", variables={"slipway_sites": [*sites, new]})
    assert run.code == 0, run.output[-3000:]
    # The output breaks long lines, and doubles quotes where it has to quote.
    said = " ".join(run.output.split()).replace("''", "'")
    assert f"siteurl 'https://{old}" in said
    assert f"-> 'https://{changed['domain']}" in said
    assert "-> 'Another title'" in said
    assert "younger: WordPress" in said
    assert summary.path.read_bytes() == before


@pytest.mark.full
def test_check_mode_passes_on_a_bare_host(
    bare: Path, downloads: dict[str, Any], tmp_path: Path, measure: Measure
) -> None:
    """With a state folder of its own: nothing may be made on the controller either."""
    state = tmp_path / "state"
    arguments = ("-i", str(bare), "--limit", f"localhost,{BARE_HOST}", "--check", "--diff")
    run = runs.run(tmp_path, *arguments, variables={"slipway_state_dir": str(state), **downloads})
    measure("--check --diff on a bare target", run.seconds)
    assert run.code == 0, run.output[-3000:]
    assert run.changed > 0
    assert "[WARNING]" not in run.output
    assert not state.exists()


@pytest.mark.full
@pytest.mark.writes
def test_a_language_that_can_not_be_had_is_named_with_what_to_do(tmp_path: Path) -> None:
    """WordPress's own server has no such one, if it is in reach at all; the site stays as it is."""
    sites = copy.deepcopy(list(lab_target.sites().values()))
    site = next(site for site in sites if site["type"] == "wordpress")
    site["language"] = "xx_XX"
    run = runs.run(tmp_path, "--tags", "wordpress", variables={"slipway_sites": sites})
    assert run.code != 0
    said = " ".join(run.output.split())
    assert f"{site['name']}: the language pack xx_XX could not be downloaded: give its archive in" in said
    assert "php_fpm_wordpress_language_packs, or another language" in said
    assert runs.run(tmp_path, "--tags", "wordpress").changed == 0
