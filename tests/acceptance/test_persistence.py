"""What people wrote is there after every container was made anew, after a reboot, and with another provider."""

from __future__ import annotations

import ftplib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance import lab_target, runs
from tests.acceptance.conftest import Measure
from tests.acceptance.ftps import Ftps
from tests.acceptance.machine import Machine
from tests.acceptance.runs import Run
from tests.acceptance.summary import Site, Summary, read
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client, all_served
from tests.acceptance.wordpress import Author

pytestmark = [pytest.mark.writes, pytest.mark.slow]

# Seconds until all sites are served again, from when the target answers by ssh.
SERVED = 180
COMPONENTS = ("web", "php", "database", "cache", "ftp")
# The smallest picture there is: one transparent pixel.
PICTURE = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


@dataclass(frozen=True)
class Written:
    """What was written on a site before the change, and what takes it away again."""

    site: Site
    word: str
    post: str
    picture: str = ""
    upload: str = ""
    undo: tuple[Callable[[], object], ...] = ()


@pytest.fixture(scope="module")
def written(summary: Summary, authors: Callable[[Site], Author]) -> Iterator[list[Written]]:
    """Write a post, a picture of the media library and an upload by FTPS on every WordPress site."""
    done: list[Written] = []
    for site in summary.of_type("wordpress"):
        author = authors(site)
        one = write_post(site, author, f"kept-{site.name}-{author.uuid[:8]}")
        picture = author.upload(f"{one.word}.gif", "image/gif", PICTURE)
        undo: list[Callable[[], object]] = [
            *one.undo,
            partial(author.api, "DELETE", f"/wp/v2/media/{picture['id']}", force="true"),
        ]
        upload = ""
        if password := summary.secret(f"{site.name}_ftp_password"):
            upload = f"/{one.word}.txt"
            _ftp(site, summary, password).put(f"/public{upload}", one.word.encode())
            undo.append(partial(_delete, site, summary, password, f"/public{upload}"))
        path = picture["source_url"].removeprefix(site.url)
        done.append(replace(one, picture=path, upload=upload, undo=tuple(undo)))
    yield done
    for step in (step for one in done for step in one.undo):
        with suppress(AssertionError, OSError, ftplib.Error):
            step()


def write_post(site: Site, author: Author, word: str) -> Written:
    """Publish a post."""
    post = author.api("POST", "/wp/v2/posts", {"title": word, "content": word, "status": "publish"})
    undo = partial(author.api, "DELETE", f"/wp/v2/posts/{post['id']}", force="true")
    return Written(site, word, post["link"].removeprefix(site.url), undo=(undo,))


def _delete(site: Site, summary: Summary, password: str, path: str) -> None:
    _ftp(site, summary, password).delete(path)


def _ftp(site: Site, summary: Summary, password: str) -> Ftps:
    connection = Ftps(site, summary.ca_certificate)
    connection.enter(site.name, password)
    return connection


def all_there(summary: Summary, written: list[Written], authors: Callable[[Site], Author]) -> bool:
    """Tell whether every site is served, with all that was written; raises AssertionError that says what isn't."""
    assert all_served(summary)
    for one in written:
        client = Client(one.site, summary.ca_certificate)
        assert one.word in client.get(one.post).text, f"{one.post} is not there"
        if one.picture:
            assert client.get(one.picture).body == PICTURE, f"{one.picture} is not there"
        if one.upload:
            assert client.get(one.upload).text == one.word, f"{one.upload} is not there"
        # Users and their passwords as well.
        assert authors(one.site).api("GET", "/wp/v2/users/me")["id"]
    return True


def _pids(machine: Machine) -> set[int]:
    return {process.pid for name in COMPONENTS for process in machine.main_processes(name)}


def test_what_was_written_is_there(summary: Summary, written: list[Written], authors: Callable[[Site], Author]) -> None:
    assert written
    assert all_there(summary, written, authors)


def test_it_is_there_after_everything_was_made_anew(
    machine: Machine,
    summary: Summary,
    written: list[Written],
    authors: Callable[[Site], Author],
    measure: Measure,
) -> None:
    """Every container recreated; without containers, every service restarted."""
    before = _pids(machine)
    containers = {one["Id"] for one in machine.containers()} if machine.compose else set()
    machine.recreate()
    seconds = wait_until("all is there", lambda: all_there(summary, written, authors), SERVED)
    measure("all containers recreated (or services restarted): served again after", seconds)
    after = _pids(machine)
    assert not before & after
    if containers:
        now = {one["Id"] for one in machine.containers()}
        assert not containers & now
        assert len(now) == len(containers)


def test_it_is_there_after_a_reboot(
    machine: Machine,
    summary: Summary,
    written: list[Written],
    authors: Callable[[Site], Author],
    measure: Measure,
) -> None:
    """Everything comes back by itself."""
    down = max(one.reboot() for one in machine.every())
    served = wait_until("all is there", lambda: all_there(summary, written, authors), SERVED)
    measure("reboot: ssh again after", down)
    measure("reboot: all sites served after ssh", served)


def provide(folder: Path, provider: str, cut: Callable[[str], bool] | None = None) -> Run:
    """Run the playbook with a provider, whatever the host has; ``cut`` says at which line to press Ctrl-C."""
    variables = {"slipway_provider": provider, "slipway_allow_provider_change": True}
    return runs.finish(runs.start(folder, variables=variables), cut)


@pytest.fixture(scope="module")
def another(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a provider that the target could have as well; it has its own after the tests, wherever they stopped."""
    if summary.backends:
        pytest.skip("compose has all components on one host")
    if lab_target.platform(summary) == lab_target.NATIVE_ALONE:
        pytest.skip(f"{lab_target.NATIVE_ALONE} has no Compose")
    yield "native" if summary.provider == "compose" else "compose"
    if read(summary.path)[0].provider != summary.provider:
        run = provide(tmp_path_factory.mktemp("back"), summary.provider)
        assert run.code == 0, run.output[-3000:]


@pytest.mark.lab
@pytest.mark.full
@pytest.mark.compose
def test_what_was_written_after_a_cut_change_is_there(
    machine: Machine,
    summary: Summary,
    written: list[Written],
    authors: Callable[[Site], Author],
    another: str,
    tmp_path: Path,
) -> None:
    """Cut once the databases were written out; then the host boots, and its stack serves as before.

    The change that goes on, in the next test, has to bring what was written since. With packages nothing serves until
    the next run, because they are taken out of the boot first.
    """
    run = provide(tmp_path, another, lambda line: "bring-files | Copy" in line)
    assert run.code != 0
    machine.run("ls /var/lib/slipway/provider-change/*.sql")
    machine.reboot()
    wait_until("all is there", lambda: all_there(summary, written, authors), SERVED)
    site = written[0].site
    written.append(write_post(site, authors(site), f"since-{authors(site).uuid[:8]}"))


@pytest.mark.lab
@pytest.mark.full
@pytest.mark.parametrize("way", ["there", "back"])
def test_it_is_there_with_another_provider(
    summary: Summary,
    written: list[Written],
    authors: Callable[[Site], Author],
    another: str,
    tmp_path: Path,
    measure: Measure,
    way: str,
) -> None:
    """The users and their passwords as well; and so it is with the provider of before again."""
    provider = another if way == "there" else summary.provider
    run = provide(tmp_path, provider)
    measure(f"run that changes the provider to {provider}", run.seconds)
    assert run.code == 0, run.output[-3000:]
    assert read(summary.path)[0].provider == provider
    wait_until("all is there", lambda: all_there(summary, written, authors), SERVED)
