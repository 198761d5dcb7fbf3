from __future__ import annotations

import itertools
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
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
    machine: Machine,
    site: Site,
    path: str = "/",
    script: str = "index.php",
    form: dict[str, str] | None = None,
    cookie: str = "",
) -> str:
    """Return a page of the site, asked of its PHP itself, or the answer to a form."""
    volume = f"/var/lib/docker/volumes/slipway_php_{site.name}/_data/1.sock"
    socket = volume if machine.compose else f"/run/php/{site.name}.sock"
    return visit(machine, socket, site, path, script, form, cookie)


Run = Callable[..., str]


@pytest.fixture
def php(machine: Machine, blog: Site) -> Run:
    """Return what runs lines of PHP as a page of the site, and returns the whole answer."""
    # Under a name of its own each time, or the opcode cache has the lines of before for two seconds.
    numbers = itertools.count(1)

    def run(lines: str, form: dict[str, str] | None = None, cookie: str = "") -> str:
        script = f"slipway-test-{next(numbers)}-{time.time_ns()}.php"
        path = f"{machine.web_root(blog)}/{script}"
        machine.feed(f"sh -c {shlex.quote(f'cat >{path} && chown 20001:20001 {path}')}", f"<?php {lines}")
        try:
            return page(machine, blog, f"/{script}", script, form, cookie)
        finally:
            machine.run(f"rm {path}")

    return run


def body(answer: str) -> str:
    """Return what follows the headers."""
    return answer.partition("\r\n\r\n")[2]


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


# Prints folders that PHP writes to, and what the kernel says of each.
PLACES = """
$mounts = [];
foreach (file('/proc/self/mountinfo') as $line) {
    [$head, $tail] = explode(' - ', $line);
    $mounts[explode(' ', $head)[4]] = explode(' ', $tail)[0];
}
$found = [];
foreach (['upload_tmp_dir', 'session.save_path'] as $name) {
    $found[$name] = ini_get($name);
}
$found['sys_temp_dir'] = dirname(tempnam(sys_get_temp_dir(), 'x'));
$found['TMPDIR'] = getenv('TMPDIR');
foreach ($found as &$path) {
    for ($at = $path; $at !== '/' && !isset($mounts[$at]); $at = dirname($at));
    $stat = stat($path);
    $path = [$path, $mounts[$at], $stat['uid'] . ':' . $stat['gid'], decoct($stat['mode'] & 0777)];
}
echo json_encode($found);
"""


def test_what_php_writes_by_itself_lies_on_the_disk_for_the_site_alone(php: Run) -> None:
    """A tmpfs counts as memory of whoever writes to it: two uploads would be the end of the site's PHP."""
    places = json.loads(body(php(PLACES)))
    assert len(places) == 4
    for name, (path, kind, owner, mode) in places.items():
        assert kind not in ("tmpfs", "ramfs"), f"{name}: {path}"
        assert (owner, mode) == ("20001:20001", "700"), f"{name}: {path}"
        assert not path.startswith("/var/www/"), f"{name} is within reach of FTP and web server: {path}"


COUNT = "session_start(); echo $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;"


def test_sessions_count_on(php: Run) -> None:
    answer = php(COUNT)
    (cookie,) = re.findall(r"Set-Cookie: (\S+);(.*)", answer)
    assert "secure" in cookie[1].lower()
    assert "httponly" in cookie[1].lower()
    counted = [body(answer)] + [body(php(COUNT, cookie=cookie[0])) for _ in range(4)]
    assert counted == ["1", "2", "3", "4", "5"]


def test_a_session_nobody_gave_out_is_not_taken(php: Run) -> None:
    assert "Set-Cookie: PHPSESSID=" in php(COUNT, cookie="PHPSESSID=0123456789abcdefghijklmnop")


def test_sessions_that_are_over_are_cleaned_away(php: Run) -> None:
    assert int(body(php("echo ini_get('session.gc_probability');"))) > 0


def test_the_largest_upload_has_room_for_its_form(php: Run) -> None:
    sizes = "echo ini_parse_quantity(ini_get('post_max_size')) - ini_parse_quantity(ini_get('upload_max_filesize'));"
    assert int(body(php(sizes))) >= 64 * 1024


def test_a_form_of_1500_fields_is_read_whole(php: Run) -> None:
    assert body(php("echo count($_POST);", {f"f{number}": "x" for number in range(1500)})) == "1500"


def test_php_ends_a_long_request_itself_before_it_is_killed(php: Run, machine: Machine, blog: Site) -> None:
    limit = int(body(php("echo ini_get('max_execution_time');")))
    pool = f"/opt/slipway/stack/php/fpm-{blog.name}-1.conf" if machine.compose else "/etc/php*/*/pool.d/blog.conf"
    text = machine.run(f"cat {pool} /etc/php/*/fpm/pool.d/blog.conf /etc/php*/php-fpm.d/blog.conf 2>/dev/null || true")
    (killed,) = set(re.findall(r"^request_terminate_timeout = (\d+)s", text, re.MULTILINE))
    assert 0 < limit < int(killed)


def test_wordpress_finds_its_modules_and_its_opcode_cache(php: Run, machine: Machine) -> None:
    """As its Site Health asks for them; no site may empty what it shares with others."""
    wanted = ["curl", "exif", "fileinfo", "gd", "imagick", "intl", "mbstring", "mysqli", "redis", "zip", "bcmath"]
    ask = f"""
    $missing = array_values(array_filter({json.dumps(wanted)}, fn ($name) => !extension_loaded($name)));
    $cached = opcache_get_status(false)['opcache_enabled'] ?? false;
    echo json_encode([$missing, $cached, function_exists('opcache_reset')]);
    """
    missing, cached, emptied = json.loads(body(php(ask)))
    assert missing == []
    assert cached
    assert emptied == machine.compose


def test_images_take_no_more_memory_than_a_worker_has(php: Run) -> None:
    ask = "require dirname(__DIR__) . '/wp-config.php'; echo Imagick::getResourceLimit(Imagick::RESOURCETYPE_MEMORY);"
    assert int(body(php(ask))) <= 64 * 1024 * 1024


def cron(machine: Machine, site: Site) -> str:
    """Return the command that runs a site's scheduled tasks at once, as its timer does."""
    if machine.service_manager == "systemd":
        return f"systemctl start slipway-cron-{site.name}.service"
    return f"/usr/local/libexec/slipway/jobs/slipway-cron-{site.name}"


def scratch(machine: Machine, site: Site) -> str:
    """Return the folder of a site's temporary files on the host."""
    return f"/srv/slipway/volumes/php_tmp_{site.name}" if machine.compose else f"/var/lib/slipway/php/{site.name}/tmp"


def test_temporary_files_left_over_are_cleaned_away(machine: Machine, blog: Site) -> None:
    """PHP removes an upload when the request ends; a worker that is killed removes nothing."""
    folder = scratch(machine, blog)
    machine.run(
        f"mkdir -p {folder}/deep && touch {folder}/new {folder}/old {folder}/deep/old"
        f" && touch -d @$(($(date +%s) - 172800)) {folder}/old {folder}/deep/old && chown -R 20001:20001 {folder}"
    )
    machine.run(cron(machine, blog))
    assert machine.run(f"cd {folder} && find . -name old -o -name new") == "./new"
    machine.run(f"rm -r {folder}/new")


@pytest.fixture
def seen(machine: Machine, blog: Site) -> Iterator[str]:
    """Return a file that tells of each run of WordPress's scheduled tasks."""
    folder = f"{machine.web_root(blog)}/wp-content/mu-plugins"
    told = f"{machine.web_root(blog)}/wp-content/slipway-test-cron"
    machine.run(f"mkdir -p {folder} && rm -f {told}")
    lines = """<?php if (defined('DOING_CRON')) file_put_contents(WP_CONTENT_DIR . '/slipway-test-cron',
        $_SERVER['HTTP_HOST'] . ' ' . PHP_SAPI . ' ' . sys_get_temp_dir() . "\\n", FILE_APPEND);"""
    machine.feed(f"sh -c 'cat >{folder}/slipway-test.php'", lines)
    machine.run(f"chown -R 20001:20001 {folder}")
    yield told
    machine.run(f"rm -rf {folder}/slipway-test.php {told}; rmdir {folder} 2>/dev/null || true")


def test_scheduled_tasks_run_by_the_timer_alone(machine: Machine, blog: Site, seen: str) -> None:
    """Who asks for wp-cron.php is answered, as Site Health wants, and starts nothing that runs already."""
    assert "Status: " not in page(machine, blog, "/wp-cron.php", "wp-cron.php")
    assert machine.run(f"cat {seen} 2>/dev/null || true") == ""
    machine.run(cron(machine, blog))
    host, kind, temporary = machine.run(f"cat {seen}").split()
    assert (host, kind) == (blog.domain, "cli")
    assert temporary.startswith("/var/lib/slipway/php/")


def generated(machine: Machine, name: str) -> list[str]:
    """Return what the role generates for a site, and no data, of all that lies on the host."""
    where = "/opt/slipway/stack /etc/slipway/secrets /etc/php* /var/www /var/lib/slipway/php"
    command = f"find {where} -path '*/public/*' -prune -o -print 2>/dev/null || true"
    named = re.compile(rf"(^|[/_-]){name}([._-]|/|$)")
    data = (f"/var/www/{name}", f"/var/www/{name}/public")
    found = [path for path in machine.run(command).splitlines() if path not in data]
    return sorted(path for path in found if named.search(path.removeprefix("/var/www")))


def test_nothing_but_data_is_left_of_a_site_that_is_gone(
    machine: Machine, blog: Site, given: Given, converge: Callable[..., None]
) -> None:
    """And a site may be called as the distribution calls its own pool."""
    (site,) = given["php_fpm_wordpress_sites"]
    converge(php_fpm_wordpress_sites=[{**site, "name": "www", "uid": 20002, "root": "/var/www/www/public"}])
    www = Site("www", "wordpress", blog.domain, blog.url, blog.address, blog.port)
    assert "<title>" in page(machine, www)
    assert generated(machine, "blog") == []
    assert machine.run(f"ls {machine.web_root(blog)}/index.php")

    converge()
    assert "<title>" in page(machine, blog)
    assert generated(machine, "www") == []
    machine.forget_site("www")
