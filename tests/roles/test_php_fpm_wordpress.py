from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site
from tests.repository import ROOT
from tests.roles.fastcgi import visit
from tests.roles.services import is_enabled, is_hardened

Given = dict[str, Any]


def page(
    machine: Machine, site: Site, path: str = "/", script: str = "index.php", form: dict[str, str] | None = None
) -> str:
    """Return a page of the site, asked of its PHP itself, or the answer to a form."""
    volume = f"/var/lib/docker/volumes/slipway_php_{site.name}/_data/1.sock"
    socket = volume if machine.compose else f"/run/php/{site.name}.sock"
    return visit(machine, socket, f"/var/www/{site.name}/public", site.domain, path, script, form)


def config(machine: Machine, site: Site) -> str:
    """Return where wp-config.php lies on the host."""
    return (
        f"/opt/slipway/stack/php/wp-config-{site.name}.php"
        if machine.compose
        else f"/var/www/{site.name}/wp-config.php"
    )


def test_the_front_page_has_the_title(machine: Machine, blog: Site, given: Given) -> None:
    assert f"<title>{given['php_fpm_wordpress_sites'][0]['title']}</title>" in page(machine, blog)


def log_in(machine: Machine, site: Site, user: str, password: str) -> str:
    return page(machine, site, "/wp-login.php", "wp-login.php", {"log": user, "pwd": password})


def test_the_administrator_can_log_in(machine: Machine, blog: Site, given: Given) -> None:
    admin = given["php_fpm_wordpress_sites"][0]["admin"]
    answer = log_in(machine, blog, admin["name"], admin["password"])
    assert "Status: 302" in answer
    assert f"Location: {blog.url}/wp-admin/" in answer
    assert "Set-Cookie: wordpress_logged_in_" in answer


def test_a_wrong_password_is_refused(machine: Machine, blog: Site, given: Given) -> None:
    answer = log_in(machine, blog, given["php_fpm_wordpress_sites"][0]["admin"]["name"], "no-password-of-anybody")
    assert 'name="pwd"' in answer
    assert "wordpress_logged_in_" not in answer


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
    kill_each(machine, "php", lambda: "<title>" in page(machine, blog))


def services(program: str) -> tuple[str, str]:
    """Return how the service of php-fpm8.4 or php-fpm84 may be called: php8.4-fpm on Debian, php-fpm84 on Alpine."""
    return program.replace("php-fpm", "php") + "-fpm", program.replace(".", "")


def test_it_starts_at_boot(machine: Machine) -> None:
    if machine.compose:
        assert is_hardened(machine, "php-blog-1")
        return
    names = {process.names[-1] for process in machine.main_processes("php")}
    assert len(names) == 1
    assert is_enabled(machine, *services(names.pop()))


# Has another release of PHP serve in the place of the one that does, as before a change of the release. Its program is
# the same one by another name, because a distribution has but one.
FORMER = r"""
set -eu
now=$1 former=$2 service=$3
swap() { echo "$1" | sed "s/$now/$former/g"; }
program=$(command -v "php-fpm$now")
ln -s "$program" "$(swap "$program")"
folder=/etc/php/$now
[ -d "$folder" ] || folder=/etc/php$now
cp -a "$folder" "$(swap "$folder")"
[ ! -d "/var/log/php$now" ] || mkdir "/var/log/php$former"
unit=/etc/init.d/$service
[ ! -d /run/systemd/system ] || unit=/usr/lib/systemd/system/$service.service
cp "$unit" "$(swap "$unit")"
sed -i "s/$now/$former/g" "$(swap "$unit")" $(find "$(swap "$folder")" -name php-fpm.conf)
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl disable --quiet --now "$service"
    systemctl enable --quiet --now "$(swap "$service")"
else
    rc-service "$service" stop
    rc-update del "$service"
    rc-update add "$(swap "$service")"
    rc-service "$(swap "$service")" start
fi
"""


def test_a_former_release_of_php_makes_room(machine: Machine, blog: Site, converge: Callable[..., None]) -> None:
    if machine.compose:
        pytest.skip("an image has one release of PHP")
    (process,) = machine.main_processes("php")
    program = process.names[-1]
    now = program.removeprefix("php-fpm")
    former = f"{now[:-1]}{int(now[-1]) - 1}"
    service = next(name for name in services(program) if is_enabled(machine, name))
    machine.feed(f"sh -s {now} {former} {service}", FORMER)
    (process,) = machine.main_processes("php")
    assert f"{former}/" in process.line
    assert "<title>" in page(machine, blog)

    converge()
    (process,) = machine.main_processes("php")
    assert f"{now}/" in process.line
    assert "<title>" in page(machine, blog)
    assert is_enabled(machine, service)
    assert not is_enabled(machine, service.replace(now, former))
    assert machine.run(f"grep -rl 'Written by Slipway' /etc/php/{former} /etc/php{former} 2>/dev/null || true") == ""
