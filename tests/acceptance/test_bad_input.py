"""What can't be right is refused before the first change, with one line that says what, and what would be right."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance import lab_target, runs
from tests.acceptance.conftest import Measure
from tests.acceptance.machine import Machine
from tests.acceptance.runs import Run
from tests.acceptance.summary import Summary
from tests.acceptance.web import all_served
from tests.repository import ROOT, load

pytestmark = [pytest.mark.lab, pytest.mark.slow]

PORT = 8444
SHORT = "short-word"
OLD_HOST = "oldstable"

Sites = list[dict[str, Any]]
# Of the mistakes in the list of sites: one, one that holds a secret, and one that only a host can tell.
RUN_ALWAYS = {"unknown key of a site", "password with a line break", "a time zone that no host has"}


@dataclass(frozen=True)
class Case:
    """A mistake: the variables that make it, and what the line must name (nothing of it a secret)."""

    name: str
    variables: Callable[[Sites], dict[str, Any]]
    named: tuple[str, ...]
    hidden: tuple[str, ...] = field(default=())

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        """Of what is wrong in the list, whose lines the tests of the filter have, only some cost a run each time."""
        return [pytest.mark.full] if isinstance(self.variables, _InSites) and self.name not in RUN_ALWAYS else []


@dataclass(frozen=True)
class _InSites:
    """Takes the inventory's sites and makes one mistake in them."""

    change: Callable[[Sites], object]

    def __call__(self, given: Sites) -> dict[str, Any]:
        sites = copy.deepcopy(given)
        self.change(sites)
        return {"slipway_sites": sites}


def _set(**variables: Any) -> Callable[[Sites], dict[str, Any]]:
    return lambda _: variables


def _static(sites: Sites) -> dict[str, Any]:
    return next(site for site in sites if site["type"] == "static")


# The first site of the inventory is a WordPress site.
CASES = (
    Case(
        "unknown key of a site",
        _InSites(lambda sites: sites[0].update(titel="A")),
        ("slipway_sites[0].titel (", "'titel'", "title"),
    ),
    Case(
        "unknown key of an administrator",
        _InSites(lambda sites: sites[0]["admin"].update(mail="a@example.test")),
        ("slipway_sites[0].admin.mail", "'mail'", "email"),
    ),
    Case(
        "unknown key of a user",
        _InSites(lambda sites: sites[0].update(users=[{"name": "a", "email": "a@b.test", "role": "editor", "age": 7}])),
        ("slipway_sites[0].users[0].age", "'age'", "role"),
    ),
    Case(
        "unknown key of a source",
        _InSites(lambda sites: _static(sites)["source"].update(branch="main")),
        (".source.branch", "'branch'", "version"),
    ),
    Case(
        "duplicate name",
        _InSites(lambda sites: sites[1].update(name=sites[0]["name"])),
        ("slipway_sites[1].name", "twice", "slipway_sites[0].name"),
    ),
    Case(
        "duplicate domain",
        _InSites(lambda sites: sites[1].update(aliases=[sites[0]["domain"]])),
        ("slipway_sites[1].aliases", "twice", "slipway_sites[0].domain"),
    ),
    Case(
        "invalid domain",
        _InSites(lambda sites: sites[0].update(domain="not_a_domain")),
        ("slipway_sites[0].domain", "'not_a_domain'", "host name"),
    ),
    Case(
        "a name of a pool of PHP",
        _InSites(lambda sites: sites[0].update(name="www")),
        ("slipway_sites[0].name", "'www'", "PHP-FPM"),
    ),
    Case(
        "password with a line break",
        _InSites(lambda sites: sites[0].update(cache_password=f"{SHORT}-{SHORT}\n")),
        ("slipway_sites[0].cache_password", "line break at its end"),
        (SHORT,),
    ),
    Case(
        "an address without a dot",
        _InSites(lambda sites: sites[0]["admin"].update(email="captain@intranet")),
        ("slipway_sites[0].admin.email", "'captain@intranet'", "dot"),
    ),
    Case(
        "a time zone that no host has",
        _InSites(lambda sites: sites[0].update(timezone="Europe/Hamburg")),
        ("slipway_sites[0].timezone", "'Europe/Hamburg'", "Europe/Berlin"),
    ),
    Case(
        "a line for nginx that leaves its block",
        _InSites(lambda sites: sites[0].update(nginx=["gzip off;", "} server { listen 81; }"])),
        ("slipway_sites[0].nginx[1]", "listen 81", "doesn't open"),
    ),
    Case(
        "a directive of nginx that is set already",
        _set(nginx_tls_options={"client_max_body_size": "1g"}),
        ("nginx_tls_options", "client_max_body_size", "nginx_tls_body_max"),
    ),
    Case("unknown hardening", _set(slipway_harden=["firewall", "selinux"]), ("slipway_harden", "selinux", "ssh")),
    Case(
        "a firewall without the controller",
        _set(host_firewall_ssh_sources=["192.0.2.1"]),
        ("host_firewall_ssh_sources", "192.0.2.1", "this run reaches"),
    ),
    Case(
        "an sshd without Ansible's user",
        _set(host_ssh_allow_users=["anne"]),
        ("host_ssh_allow_users", "anne", "add that user"),
    ),
    Case(
        "an FTP server without encryption",
        _set(ftp_options={"ssl_enable": False}),
        ("ftp_options", "ssl_enable", "encryption"),
    ),
    Case("id of another", _InSites(lambda sites: sites[0].update(uid=33)), ("slipway_sites[0].uid", "33", "20000")),
    Case(
        "unknown type",
        _InSites(lambda sites: sites[0].update(type="drupal")),
        ("slipway_sites[0].type", "'drupal'", "wordpress, static"),
    ),
    Case("unknown provider", _set(slipway_provider="podman"), ("slipway_provider", "'podman'", "compose, native")),
    Case(
        "administrator called admin",
        _InSites(lambda sites: sites[0]["admin"].update(name="SiteAdmin")),
        ("slipway_sites[0].admin.name", "'SiteAdmin'", "must not contain 'admin'"),
    ),
    Case(
        "short password",
        _InSites(lambda sites: sites[0]["admin"].update(password=SHORT)),
        ("slipway_sites[0].admin.password", str(len(SHORT)), "at least 12"),
        (SHORT,),
    ),
    Case(
        "short password of the database",
        _InSites(lambda sites: sites[0].update(database_password=SHORT)),
        ("slipway_sites[0].database_password", str(len(SHORT)), "at least 12"),
        (SHORT,),
    ),
    Case("too little memory", _set(mariadb_memory_mb=9_999_999), ("mariadb_memory_mb", "1000", "MiB", "the host has")),
    Case("too few connections", _set(mariadb_user_connections=1), ("mariadb_user_connections: 1 ", "workers of PHP")),
    Case("one port for two", _set(ftp_port=443), ("ftp_port: 443 ", "nginx_tls_https_port")),
    Case("too little disk", _set(slipway_disk_min_mb=999_999_999), ("slipway_disk_min_mb", "999999999", "MiB")),
    Case(
        "wrong checksum",
        _set(
            php_fpm_wordpress_url=f"file://{ROOT}/README.md",
            php_fpm_wordpress_checksum="sha256:" + "0" * 64,
        ),
        ("php_fpm_wordpress_url", "0" * 64, "file://"),
    ),
    Case(
        "no checksum",
        _set(php_fpm_wordpress_checksum="md5:1234"),
        ("php_fpm_wordpress_checksum", "md5:1234", "sha256:"),
    ),
    Case(
        "an upload that nginx doesn't take",
        _set(php_fpm_wordpress_upload_max="128M"),
        ("nginx_tls_body_max", "'65m'", "php_fpm_wordpress_upload_max", "'128M'", "129m"),
    ),
    Case(
        "an upload without an end",
        _set(php_fpm_wordpress_upload_max="-1"),
        ("php_fpm_wordpress_upload_max", "'-1'", "64M"),
    ),
    Case(
        "PHP that the release lacks",
        _set(php_fpm_wordpress_php_version="7.4"),
        ("php_fpm_wordpress_php_version", "'7.4'", "one of: 8."),
    ),
    Case(
        "unknown service manager",
        _set(service_unit_manager="runit"),
        ("service_unit_manager", "'runit'", "systemd, openrc"),
    ),
    Case(
        "a role that differs in the provider", _set(mariadb_provider="podman"), ("mariadb_provider", "slipway_provider")
    ),
    Case("unknown variable of all", _set(slipway_socket_only=True), ("slipway_socket_only", "no such variable")),
    Case("unknown variable", _set(nginx_tls_htps_port=443), ("nginx_tls_htps_port", "README")),
    Case("variable worked out", _set(ftp_passive_address="192.0.2.1"), ("ftp_passive_address", "slipway_address")),
    Case("undefined variable", _set(nginx_tls_body_max="{{ vault_typo }}"), ("nginx_tls_body_max", "undefined")),
    Case("wrong kind of value", _set(php_fpm_wordpress_replicas="many"), ("php_fpm_wordpress_replicas", "many", "int")),
)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, summary: Summary
) -> Iterator[Callable[[Case], Run]]:
    """Return the run of a case. Two run at a time: they change nothing, and mostly wait for each other's host."""
    wanted = {case for item in request.session.items if (case := _case_of(item))}
    given = list(lab_target.sites().values())
    before = _state(summary)
    pool = ThreadPoolExecutor(2)

    def start(case: Case) -> Run:
        return runs.run(tmp_path_factory.mktemp("case"), variables=case.variables(given))

    started: dict[Case, Future[Run]] = {case: pool.submit(start, case) for case in CASES if case in wanted}
    yield lambda case: started[case].result()
    pool.shutdown(cancel_futures=True)
    # Nothing was changed on the controller either.
    assert _state(summary) == before


def _case_of(item: pytest.Item) -> Case | None:
    call = getattr(item, "callspec", None)
    case = call.params.get("case") if call and item.path == Path(__file__) else None
    return case if isinstance(case, Case) else None


def _state(summary: Summary) -> dict[str, bytes]:
    files = [summary.path, *sorted(summary.secrets_dir.iterdir()), *sorted(summary.ca_certificate.parent.iterdir())]
    return {str(path): path.read_bytes() for path in files}


def assert_refused(run: Run, named: tuple[str, ...], hosts: int = 1) -> None:
    """Assert that a run stopped with one line that names all this, and that no task of it changed anything.

    ``hosts`` is how many hosts may each say so for themselves.
    """
    assert run.code != 0
    assert run.changed == 0, run.changes
    assert 1 <= len(run.errors) <= hosts, run.output[-3000:]
    for line in run.errors:
        missing = [part for part in named if part not in line]
        assert not missing, f"not in: {line}"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name, marks=case.marks) for case in CASES])
def test_it_is_refused(case: Case, outcomes: Callable[[Case], Run], measure: Measure) -> None:
    run = outcomes(case)
    measure(f"refused: {case.name}", run.seconds)
    assert_refused(run, case.named, len(lab_target.hosts()))
    assert [secret for secret in case.hidden if secret in run.output] == []


@pytest.fixture
def listener(machine: Machine) -> Iterator[int]:
    """Listen on a port of the target, as a program that was there before."""
    script = f"import socket, sys; server = socket.create_server(('', {PORT})); print(flush=True); sys.stdin.read()"
    with machine.background(script, "") as end:
        yield PORT
        end()


def test_a_port_that_is_taken_is_refused(listener: int, tmp_path: Path) -> None:
    run = runs.run(tmp_path, variables={"nginx_tls_https_port": listener})
    assert_refused(run, ("nginx_tls_https_port", str(listener), "python3"))


@pytest.fixture
def container(machine: Machine) -> Iterator[str]:
    """Publish a port of the target by a container that Slipway did not make."""
    image = machine.run("docker ps --filter name=slipway-nginx-1 --format '{{.Image}}'").strip()
    # The image says whose it is, and a container of it would be taken for the stack's.
    mark = "--label com.docker.compose.project=somebodys"
    machine.run(f"docker run --detach --name somebodys {mark} --publish {PORT}:80 --entrypoint sleep {image} 600")
    yield "somebodys"
    machine.run("docker rm --force somebodys")


@pytest.mark.compose
@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["run", "check"])
def test_a_port_of_another_container_is_refused(container: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    run = runs.run(tmp_path, *arguments, variables={"nginx_tls_https_port": PORT})
    assert_refused(run, ("nginx_tls_https_port", str(PORT), f"the container {container}"))


def test_a_site_named_as_an_account_is_refused(summary: Summary, tmp_path: Path) -> None:
    """Its files would be the account's, and a site that is removed takes its account along."""
    if summary.provider != "native":
        pytest.skip("compose makes no accounts")
    given = list(copy.deepcopy(lab_target.sites()).values())
    run = runs.run(tmp_path, variables={"slipway_sites": [{**given[0], "name": "video"}, *given[1:]]})
    assert_refused(run, ("slipway_sites", "group video", "another name"))


def _other(provider: str) -> str:
    return "native" if provider == "compose" else "compose"


def test_another_provider_is_refused(summary: Summary, tmp_path: Path) -> None:
    """On any platform: that the host has one comes before what the platform has."""
    run = runs.run(tmp_path, variables={"slipway_provider": _other(summary.provider)})
    named = ("slipway_provider", f"'{summary.provider}'", "slipway_allow_provider_change")
    assert_refused(run, named, len(lab_target.hosts()))


def test_a_change_of_the_provider_by_tags_is_refused(summary: Summary, tmp_path: Path) -> None:
    if lab_target.platform(summary) == lab_target.NATIVE_ALONE or summary.backends:
        pytest.skip("the target can have no other provider")
    wanted = {"slipway_provider": _other(summary.provider), "slipway_allow_provider_change": True}
    run = runs.run(tmp_path, "--tags", "web", variables=wanted)
    assert_refused(run, ("slipway_allow_provider_change", "--tags", f"'{summary.provider}'"))


def test_a_site_that_is_new_is_not_moved(summary: Summary, tmp_path: Path) -> None:
    """Nor a site whose files aren't where they should be: the change would leave it empty."""
    if lab_target.platform(summary) == lab_target.NATIVE_ALONE or summary.backends:
        pytest.skip("the target can have no other provider")
    given = list(copy.deepcopy(lab_target.sites()).values())
    new = {**given[0], "name": "newcomer", "domain": "newcomer.example.test", "aliases": []}
    wanted = {"slipway_provider": _other(summary.provider), "slipway_allow_provider_change": True}
    # Else the passwords of the new site would be made, as for any site that can be served.
    run = runs.run(tmp_path, "--check", variables={**wanted, "slipway_sites": [*given, new]})
    assert_refused(run, ("slipway_provider", "newcomer"))


@pytest.mark.parametrize(
    ("elsewhere", "variables", "limit", "named"),
    [
        ("database", {"slipway_sockets_only": True}, "front,back", ("slipway_sockets_only", "front", "socket")),
        ("database", {}, "back", ("--limit", "front", "back")),
        ("php", {}, "front,back", ("inventory", "front", "web", "php")),
    ],
    ids=["sockets between two hosts", "half of two hosts", "PHP apart from nginx"],
)
def test_hosts_that_do_not_fit_are_refused(
    summary: Summary, tmp_path: Path, elsewhere: str, variables: dict[str, Any], limit: str, named: tuple[str, ...]
) -> None:
    """Sockets asked for between two hosts; nginx apart from PHP. Both hosts are the target, under other names."""
    if summary.provider != "native":
        pytest.skip("compose has all on one host, and says so first")
    connection = next(iter(lab_target.hosts().values()))
    groups = load(ROOT / "inventory" / "hosts.yml")["all"]["children"]
    children: dict[str, Any] = {group: {"hosts": {"back" if group == elsewhere else "front": {}}} for group in groups}
    content = {"all": {"hosts": dict.fromkeys(("front", "back"), connection | variables), "children": children}}
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "group_vars").symlink_to(ROOT / "inventory" / "group_vars")
    (folder / "hosts.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    run = runs.finish(runs.start(tmp_path, "--limit", f"localhost,{limit}", inventory=folder))
    assert_refused(run, named)


@pytest.fixture(scope="module")
def old_host(tmp_path_factory: pytest.TempPathFactory, summary: Summary) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return the inventory of a second target with Debian 12, and its connection variables."""
    lab = (sys.executable, "-m", "lab")
    made = subprocess.run(
        [*lab, "create", OLD_HOST, "--platform", "debian12-systemd"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    variables = json.loads(made.stdout)["variables"] | {"slipway_provider": summary.provider}
    groups = list(load(ROOT / "inventory" / "hosts.yml")["all"]["children"])
    content = {
        "all": {
            "hosts": {OLD_HOST: variables},
            "children": {group: {"hosts": {OLD_HOST: {}}} for group in groups},
        }
    }
    path = tmp_path_factory.mktemp("old") / "old.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    yield path, variables
    subprocess.run([*lab, "destroy", OLD_HOST], cwd=ROOT, check=True)


@pytest.mark.full
@pytest.mark.compose
def test_a_release_without_compose_is_refused(old_host: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Debian 12 as it is: its archive has no Compose 2."""
    run = runs.run(tmp_path, "-i", str(old_host[0]), "--limit", f"localhost,{OLD_HOST}")
    assert_refused(run, (OLD_HOST, "Debian 12", "Debian 13"))


@pytest.mark.full
def test_a_cache_that_the_release_lacks_is_refused(old_host: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Debian 12 as it is: its archive has no Valkey."""
    mistake = {"slipway_provider": "native", "redis_cache_flavor": "valkey"}
    run = runs.run(tmp_path, "-i", str(old_host[0]), "--limit", f"localhost,{OLD_HOST}", variables=mistake)
    assert_refused(run, (OLD_HOST, "redis_cache_flavor", "'valkey'", "Debian 12", "one of: redis"))


def _machine(variables: dict[str, Any], summary: Summary) -> Machine:
    ssh = summary.ssh.__class__(
        str(variables["ansible_host"]),
        22,
        str(variables["ansible_user"]),
        summary.ssh.private_key,
        summary.ssh.known_hosts,
    )
    return Machine(Summary(**{**summary.__dict__, "ssh": ssh}))


@pytest.mark.full
def test_a_server_that_is_there_already_is_refused(
    old_host: tuple[Path, dict[str, Any]], summary: Summary, tmp_path: Path
) -> None:
    """Packages of the same names serve somebody else, whose sites and data they would take away."""
    path, variables = old_host
    old = _machine(variables, summary)
    old.run(
        "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends"
        " nginx-light redis-server vsftpd && cp /etc/nginx/sites-available/default /etc/nginx/sites-enabled/legacy"
    )
    native = {"slipway_provider": "native"}
    named = (OLD_HOST, "nginx is running", "sites-enabled holds legacy", "redis-server is running", "vsftpd is running")
    for arguments in ((), ("--check",)):
        run = runs.run(tmp_path, *arguments, "-i", str(path), "--limit", f"localhost,{OLD_HOST}", variables=native)
        assert_refused(run, named)
    # What was never configured and doesn't run is nothing to keep: only the site is left in the way.
    old.run("systemctl disable --now nginx redis-server vsftpd")
    run = runs.run(tmp_path, "--check", "-i", str(path), "--limit", f"localhost,{OLD_HOST}", variables=native)
    assert_refused(run, (OLD_HOST, "sites-enabled holds legacy"))
    assert "vsftpd" not in run.errors[0]
    old.run("DEBIAN_FRONTEND=noninteractive apt-get purge -yq 'nginx*' redis-server vsftpd; rm -rf /etc/nginx")
    old.disconnect()


@pytest.mark.full
def test_an_unsupported_release_is_refused(
    old_host: tuple[Path, dict[str, Any]], summary: Summary, tmp_path: Path
) -> None:
    """The same target, once it says what Debian 11 says of itself."""
    path, variables = old_host
    old = _machine(variables, summary)
    old.run("sed -i 's/bookworm/bullseye/g; s/12/11/g' /etc/os-release; echo 11.11 >/etc/debian_version")
    old.disconnect()
    run = runs.run(tmp_path, "-i", str(path), "--limit", f"localhost,{OLD_HOST}")
    assert_refused(run, (OLD_HOST, "Debian 11", "Debian 13"))


def test_the_sites_are_served_as_before(summary: Summary, outcomes: Callable[[Case], Run]) -> None:
    for case in CASES[:1]:
        outcomes(case)
    assert all_served(summary)
