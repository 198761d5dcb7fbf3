from __future__ import annotations

from typing import Any

from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site
from tests.repository import ROOT
from tests.roles.fastcgi import visit
from tests.roles.services import is_enabled, is_hardened, kill_and_wait

Given = dict[str, Any]


def page(machine: Machine, site: Site, path: str = "/", script: str = "index.php") -> str:
    """Return a page of the site, asked of its PHP itself."""
    volume = f"/var/lib/docker/volumes/slipway_php_{site.name}/_data/1.sock"
    socket = volume if machine.compose else f"/run/php/{site.name}.sock"
    return visit(machine, socket, f"/var/www/{site.name}/public", site.domain, path, script)


def config(machine: Machine, site: Site) -> str:
    """Return where wp-config.php lies on the host."""
    return (
        f"/opt/slipway/stack/php/wp-config-{site.name}.php"
        if machine.compose
        else f"/var/www/{site.name}/wp-config.php"
    )


def test_the_front_page_has_the_title(machine: Machine, blog: Site, given: Given) -> None:
    assert f"<title>{given['php_fpm_wordpress_sites'][0]['title']}</title>" in page(machine, blog)


def test_one_can_log_in(machine: Machine, blog: Site) -> None:
    assert 'name="pwd"' in page(machine, blog, "/wp-login.php", "wp-login.php")


def test_the_rest_api_answers(machine: Machine, blog: Site) -> None:
    answer = page(machine, blog, "/wp-json/wp/v2/posts")
    assert "application/json" in answer
    assert '"slug":"hello-world"' in answer


def test_files_have_the_modes_of_the_handbook(machine: Machine, blog: Site) -> None:
    root = machine.web_root(blog)
    assert machine.run(f"stat -c '%a %u' {root}") == "750 20001"
    assert machine.run(f"find {root} -type d ! -perm 750 -o -type f ! -perm 640 | head -n 3") == ""
    assert machine.run(f"stat -c '%a %u %g' {config(machine, blog)}") == "440 0 20001"


def test_no_password_is_in_the_configuration(machine: Machine, blog: Site, given: Given) -> None:
    password = given["php_fpm_wordpress_sites"][0]["database"]["password"]
    assert password not in machine.run(f"cat {config(machine, blog)}")


def test_scheduled_tasks_are_the_system_s(machine: Machine, blog: Site) -> None:
    assert "DISABLE_WP_CRON" in machine.run(f"cat {config(machine, blog)}")
    if machine.service_manager == "systemd":
        assert is_enabled(machine, f"slipway-cron-{blog.name}.timer")
    else:
        assert f"slipway-cron-{blog.name}" in machine.run("cat /etc/cron.d/* /etc/crontabs/root 2>/dev/null || true")


def test_the_object_cache_is_in_place(machine: Machine, blog: Site) -> None:
    there = machine.run(f"cat {machine.web_root(blog)}/wp-content/object-cache.php")
    assert there == (ROOT / "roles/php_fpm_wordpress/files/object-cache.php").read_text().strip()


def test_it_survives_the_kill_of_its_processes(machine: Machine, blog: Site) -> None:
    kill_and_wait(machine, "php", lambda: "<title>" in page(machine, blog))


def test_it_starts_at_boot(machine: Machine) -> None:
    if machine.compose:
        assert is_hardened(machine, "php-blog-1")
        return
    # php-fpm8.4 is the program of the service php8.4-fpm on Debian, of php-fpm84 on Alpine.
    names = {process.names[-1] for process in machine.main_processes("php")}
    assert len(names) == 1
    program = names.pop()
    assert is_enabled(machine, program.replace("php-fpm", "php") + "-fpm", program.replace(".", ""))
