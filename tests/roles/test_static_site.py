from __future__ import annotations

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import STACK, Machine
from tests.repository import ROOT
from tests.roles.services import starts_at_boot

FETCH = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


def fetch(machine: Machine, path: str = "/") -> str:
    """Return a page of the http-server, asked on the host itself."""
    if not machine.compose:
        return machine.run(f"python3 -c '{FETCH}' http://127.0.0.1:20104{path}")
    pattern = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    inspect = f"docker inspect --format '{pattern}' $(docker compose ps --quiet static-manual)"
    return machine.run(f"cd {STACK} && python3 -c '{FETCH}' http://$({inspect}):20104{path}")


def test_the_http_server_serves_its_folder(machine: Machine) -> None:
    assert fetch(machine) == (ROOT / "examples/manual/index.html").read_text().strip()


def test_what_nginx_serves_lies_where_it_looks(machine: Machine) -> None:
    page = "/srv/slipway/static/docs/public/index.html"
    assert machine.run(f"cat {page}") == (ROOT / "examples/docs/index.html").read_text().strip()
    assert machine.run(f"stat -c '%a %U %G' {page}") == "644 root root"


def test_an_archive_is_unpacked(machine: Machine) -> None:
    page = "/srv/slipway/static/packed/public/index.html"
    assert machine.run(f"cat {page}") == (ROOT / "examples/docs/index.html").read_text().strip()
    assert machine.run(f"stat -c '%a %U %G' {page}") == "644 root root"


def test_a_private_repository_is_cloned(machine: Machine) -> None:
    """By a key that only root can read, and nothing of git lies in the web root."""
    folder = "/srv/slipway/static/private"
    assert machine.run(f"ls -A {folder}/public") == "index.html"
    assert machine.run(f"cat {folder}/public/index.html") == "A page of the repository"
    assert machine.run(f"stat -c '%a %U %G' {folder}/deploy_key") == "600 root root"


def test_other_hosts_can_t_go_past_nginx(machine: Machine) -> None:
    # 20104, on any address, in the state LISTEN, as the kernel writes it.
    listening = machine.run("cat /proc/net/tcp /proc/net/tcp6")
    assert "00000000:4E88 0" not in listening


def test_it_is_no_root_s_process(machine: Machine) -> None:
    assert all(process.uid > 0 for process in machine.main_processes("static"))


def test_it_survives_the_kill_of_its_process(machine: Machine) -> None:
    kill_each(machine, "static", lambda: "<html" in fetch(machine).lower())


def test_it_starts_at_boot(machine: Machine) -> None:
    assert starts_at_boot(machine, "static-manual", "slipway-static-manual")
