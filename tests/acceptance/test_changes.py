"""Sites come and go, WordPress is updated, and a run that was cut is repaired by the next one.

One story, told in order: three more sites are added by runs that are cut again and again, then brought up, changed,
and removed. The sites that were there before are served all the time.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import lab_target, runs, served
from tests.acceptance.conftest import Measure
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client, all_served
from tests.acceptance.wordpress import log_in
from tests.repository import ROOT

pytestmark = [pytest.mark.lab, pytest.mark.writes, pytest.mark.slow]

OLD_SERIES = "6.8"
NAMES = ("younger", "packed", "cloned")
# Where the user presses Ctrl-C, or the controller dies: the start of each task, and once the middle of a deployment.
# With the tags that lead there: what a run does before was done by the one that was cut before it.
CUTS = (
    ("a new certificate", "certificates", "TASK [tls_certificate : certificate | Create the key]", signal.SIGINT),
    ("a new database user", "database", "TASK [mariadb : databases | Configure users]", signal.SIGINT),
    ("the content of a static site", "static", "TASK [static_site : git | Check out the version]", signal.SIGINT),
    ("the web server's configuration", "web", "TASK [nginx_tls : config | Write the configuration]", signal.SIGKILL),
)
DEPLOYMENT = "TASK [php_fpm_wordpress : state | Configure WordPress sites]"
# Seconds until the program of a cut run has ended on the target.
AFTERMATH = 120


@dataclass
class Story:
    """The sites of the story and what the runs are told."""

    variables: dict[str, Any]
    sites: dict[str, Site]
    files: Path
    url: str
    over: bool = False

    def source(self, name: str) -> dict[str, Any]:
        """Return the source of a static site, to be changed in place."""
        found: dict[str, Any] = next(one for one in self.variables["slipway_sites"] if one["name"] == name)["source"]
        return found

    def archive(self, title: str) -> None:
        """Make an archive with this title, and tell the runs of it."""
        path = self.files / f"{title}.tar.gz"
        served.archive(path, {"index.html": f"<title>{title}</title>", "more/page.html": title})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.source("packed").update(archive=f"{self.url}/{path.name}", checksum=f"sha256:{digest}")

    def commit(self, title: str) -> None:
        """Make a commit with this title, and tell the runs of it."""
        served.commit(self.files / "site", {"index.html": f"<title>{title}</title>"}, title)
        self.source("cloned").update(git=f"{self.url}/site/.git", version=title)


def _old_wordpress() -> dict[str, str]:
    made = subprocess.run(
        [sys.executable, "-m", "lab", "wordpress", OLD_SERIES], cwd=ROOT, capture_output=True, check=True
    )
    found: dict[str, str] = json.loads(made.stdout)
    return found


@pytest.fixture(scope="module")
def story(machine: Machine, summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    files = tmp_path_factory.mktemp("served")
    sites = copy.deepcopy(list(lab_target.sites().values()))
    like = summary.sites[0]
    port = "" if like.port == 443 else f":{like.port}"
    made = {}
    for name in NAMES:
        domain = f"{name}.example.test"
        kind = "wordpress" if name == "younger" else "static"
        made[name] = replace(like, name=name, type=kind, domain=domain, url=f"https://{domain}{port}")
        site: dict[str, Any] = {"name": name, "type": kind, "domain": domain}
        if kind == "wordpress":
            site |= {"title": "Slipway younger", "admin": {"name": "captain", "email": "captain@example.test"}}
        else:
            site |= {"source": {}, "server": "http-server"}
        sites.append(site)
    _forget(machine, summary)
    with served.folder(files, summary.ssh.host) as url:
        result = Story({"slipway_sites": sites, **_old_wordpress()}, made, files, url)
        result.archive("packed-one")
        result.commit("cloned-one")
        yield result
    # Leave the lab as it was, also when the story stopped in the middle.
    run = None if result.over else runs.run(tmp_path_factory.mktemp("end"))
    _forget(machine, summary)
    assert run is None or run.code == 0, run.output[-3000:]


def _forget(machine: Machine, summary: Summary) -> None:
    for name in NAMES:
        machine.forget_site(name)
        for path in summary.secrets_dir.glob(f"{name}_*"):
            path.unlink()


def client(story: Story, summary: Summary, name: str) -> Client:
    return Client(story.sites[name], summary.ca_certificate)


@pytest.mark.parametrize(("tags", "header", "sign"), [cut[1:] for cut in CUTS], ids=[cut[0] for cut in CUTS])
def test_a_run_is_cut(
    story: Story, summary: Summary, tmp_path: Path, tags: str, header: str, sign: signal.Signals
) -> None:
    process = runs.start(tmp_path, "--tags", tags, variables=story.variables)
    run = runs.finish(process, lambda line: line.startswith(header), sign)
    assert run.code != 0
    assert header in run.output, run.output[-3000:]
    assert run.errors == [], run.errors
    assert all_served(summary)


def test_a_run_is_cut_while_wordpress_is_deployed(
    machine: Machine, story: Story, summary: Summary, tmp_path: Path
) -> None:
    """Not when the task begins, but when the files of the new site are half there."""
    stage = f"{machine.web_root(story.sites['younger'])}/.slipway-core-stage/new/wordpress"
    process = runs.start(tmp_path, "--tags", "database,cache,wordpress", variables=story.variables)

    def deploys(line: str) -> bool:
        if not line.startswith(DEPLOYMENT):
            return False
        machine.run(f"timeout 60 sh -c 'until [ -d {stage} ]; do :; done'")
        return True

    run = runs.finish(process, deploys, signal.SIGINT)
    assert run.code != 0
    assert DEPLOYMENT in run.output, run.output[-3000:]
    assert all_served(summary)
    state = "wordpress_state.php"
    wait_until(
        "the program of the cut run ends",
        lambda: not [one for one in machine.processes() if state in one.line],
        AFTERMATH,
    )


def test_the_next_run_repairs_it_all(
    machine: Machine, story: Story, summary: Summary, tmp_path: Path, measure: Measure
) -> None:
    """The new sites are served; those that had a newer WordPress keep it."""
    before = {site.name: machine.wordpress_version(site) for site in summary.of_type("wordpress")}
    run = runs.run(tmp_path, variables=story.variables)
    measure("run that repairs the cut ones, and adds three sites", run.seconds)
    assert run.code == 0, run.output[-3000:]
    assert "Slipway younger" in client(story, summary, "younger").get("/").title
    assert client(story, summary, "packed").get("/").title == "packed-one"
    assert client(story, summary, "packed").get("/more/page.html").text == "packed-one"
    assert client(story, summary, "cloned").get("/").title == "cloned-one"
    assert client(story, summary, "cloned").get("/.git").status == 404
    assert all_served(summary)

    wanted = story.variables["php_fpm_wordpress_version"]
    assert machine.wordpress_version(story.sites["younger"])[0] == wanted
    after = {site.name: machine.wordpress_version(site) for site in summary.of_type("wordpress")}
    assert after == before
    assert wanted not in {version for version, _ in after.values()}


def database_version(machine: Machine, site: Site) -> str:
    query = f"SELECT option_value FROM `{site.name}`.wp_options WHERE option_name = 'db_version';"  # noqa: S608
    return machine.sql(query)[0]


def test_a_newer_version_updates_core_and_database(
    machine: Machine, story: Story, summary: Summary, tmp_path: Path, measure: Measure
) -> None:
    """What was written with the old one is there with the new one; static sites follow their sources."""
    younger = story.sites["younger"]
    password = summary.secret("younger_wordpress_captain")
    assert password
    author = log_in(younger, summary.ca_certificate, "captain", password)
    post = author.api("POST", "/wp/v2/posts", {"title": "from the old one", "content": "x", "status": "publish"})
    old, old_tables = machine.wordpress_version(younger)
    assert database_version(machine, younger) == old_tables

    for name in [key for key in story.variables if key.startswith("php_fpm_wordpress_")]:
        del story.variables[name]
    story.archive("packed-two")
    story.commit("cloned-two")
    run = runs.run(tmp_path, "--tags", "static,wordpress", variables=story.variables)
    measure("run that updates WordPress and two static sites", run.seconds)
    assert run.code == 0, run.output[-3000:]

    new, new_tables = machine.wordpress_version(younger)
    assert new != old
    assert {new} == {machine.wordpress_version(site)[0] for site in summary.of_type("wordpress")}
    assert int(new_tables) > int(old_tables)
    assert database_version(machine, younger) == new_tables
    page = client(story, summary, "younger").get(post["link"].removeprefix(younger.url))
    assert "from the old one" in page.title
    assert f'content="WordPress {new}"' in page.text
    assert author.api("GET", "/wp/v2/users/me")["id"]
    assert client(story, summary, "packed").get("/").title == "packed-two"
    assert client(story, summary, "cloned").get("/").title == "cloned-two"
    assert all_served(summary)


def titles_until(story: Story, summary: Summary, name: str, wanted: str) -> list[str]:
    """Return the titles that a site showed until it showed this one."""
    seen: list[str] = []

    def shows() -> bool:
        seen.append(client(story, summary, name).get("/").title)
        return seen[-1] == wanted

    wait_until(f"{name} shows {wanted}", shows, 30)
    return seen


@pytest.mark.compose
def test_no_domain_serves_the_container_of_another(machine: Machine, story: Story, summary: Summary) -> None:
    """The Engine gives addresses in the order of start; in one of the two orders each has that of the other one."""
    names = ("packed", "cloned")
    for order in (names, names[::-1]):
        machine.stack(f"stop {' '.join(f'static-{name}' for name in order)}")
        for name in order:
            machine.stack(f"start static-{name}")
        assert "cloned-two" not in titles_until(story, summary, "packed", "packed-two")
        assert "packed-two" not in titles_until(story, summary, "cloned", "cloned-two")


@pytest.mark.parametrize("what", ["wordpress", "static"])
def test_an_archive_that_does_not_match_is_not_installed(
    machine: Machine, story: Story, summary: Summary, tmp_path: Path, what: str
) -> None:
    """One that comes by the network, so that it shows only in the middle of a run."""
    wrong = "sha256:" + "1" * 64
    served.archive(story.files / "wrong.tar.gz", {"wordpress/index.php": "wrong", "index.html": "wrong"})
    variables = copy.deepcopy(story.variables)
    if what == "wordpress":
        variables |= {
            "php_fpm_wordpress_version": "99.1",
            "php_fpm_wordpress_url": f"{story.url}/wrong.tar.gz",
            "php_fpm_wordpress_checksum": wrong,
        }
    else:
        source = next(one for one in variables["slipway_sites"] if one["name"] == "packed")["source"]
        source.update(archive=f"{story.url}/wrong.tar.gz", checksum=wrong)
    before = {site.name: machine.wordpress_version(site) for site in summary.of_type("wordpress")}
    run = runs.run(tmp_path, "--tags", what, variables=variables)
    assert run.code != 0
    assert len(run.errors) == 1, run.output[-3000:]
    assert "1" * 64 in run.errors[0]
    found = machine.run(
        "find /opt /srv /var/www /usr/local -name '*99.1*' -o -name '*1111111111111111*' 2>/dev/null || true"
    )
    assert found == ""
    assert {site.name: machine.wordpress_version(site) for site in summary.of_type("wordpress")} == before
    assert client(story, summary, "packed").get("/").title == "packed-two"
    assert all_served(summary)


def test_a_source_of_another_kind_takes_the_place_of_the_old_one(
    machine: Machine, story: Story, summary: Summary, tmp_path: Path
) -> None:
    """A checkout has the files of its version alone, and what is no checkout has nothing of git."""
    packed, cloned = story.source("packed"), story.source("cloned")
    was = dict(packed)
    for source, other in ((packed, dict(cloned)), (cloned, was)):
        source.clear()
        source.update(other)
    run = runs.run(tmp_path, "--tags", "static", variables=story.variables)
    assert run.code == 0, run.output[-3000:]
    assert client(story, summary, "packed").get("/").title == "cloned-two"
    assert client(story, summary, "packed").get("/more/page.html").status == 404
    assert client(story, summary, "cloned").get("/").title == "packed-two"
    assert client(story, summary, "cloned").get("/more/page.html").text == "packed-two"
    assert machine.run("find /srv/slipway/static/cloned -name .git -o -name history") == ""
    again = runs.run(tmp_path, "--tags", "static", "--check", variables=story.variables)
    assert (again.code, again.changes) == (0, []), again.output[-3000:]


def test_a_site_that_left_the_inventory_is_not_served(
    machine: Machine, story: Story, summary: Summary, tmp_path: Path, measure: Measure
) -> None:
    """Its data stays until someone removes it."""
    run = runs.run(tmp_path)
    measure("run that takes three sites away", run.seconds)
    assert run.code == 0, run.output[-3000:]
    story.over = True
    for name in NAMES:
        with pytest.raises(OSError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
            client(story, summary, name).get("/")
    assert machine.wordpress_version(story.sites["younger"])[0]
    assert not [one for one in machine.processes() if "younger" in one.line and os.sep in one.line]
    assert all_served(summary)
