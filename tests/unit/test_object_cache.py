"""The object cache drop-in, in a real PHP against a real Redis on a private socket.

Each test is a short PHP script. Two ``WP_Object_Cache`` objects in one script are two requests: each
has its own memory and its own connection. Of WordPress only the few functions that the drop-in calls
are stood in for.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pytest

from tests.repository import ROOT, load

DROP_IN = ROOT / "roles/php_fpm_wordpress/files/object-cache.php"
REDIS_CACHE = ROOT / "roles/redis_cache"

PREAMBLE = r"""<?php
define('ABSPATH', '/nowhere/');
define('WP_CONTENT_DIR', getenv('CONTENT'));
define('WP_REDIS_SCHEME', getenv('TLS_PORT') ? 'tls' : 'unix');
define('WP_REDIS_PATH', getenv('SOCKET'));
define('WP_REDIS_PORT', (int) getenv('TLS_PORT'));
define('WP_REDIS_PASSWORD', ['blog', 'a-long-password']);
define('WP_REDIS_PREFIX', 'blog:');
define('WP_REDIS_READ_TIMEOUT', (float) getenv('READ_TIMEOUT'));
function is_multisite() { return (bool) getenv('MULTISITE'); }
function get_current_blog_id() { return 1; }
if (!getenv('EARLY')) { // What WordPress loads after a page cache's advanced-cache.php.
    function wp_suspend_cache_addition($to = null) { static $now = false; return $now = $to ?? $now; }
    function _doing_it_wrong($function, $message, $version) { $GLOBALS['wrong'][] = $function; }
    function _deprecated_function() {}
}
function esc_html($text) { return htmlspecialchars($text); }
function same($wanted, $got, $what) {
    if ($wanted !== $got) {
        fwrite(STDERR, "FAILED: $what: wanted " . var_export($wanted, true) . ', got ' . var_export($got, true) . "\n");
        exit(1);
    }
}
function redis() {
    $redis = new Redis();
    $redis->connect(getenv('SOCKET'));
    return $redis;
}
function request() { return new WP_Object_Cache(); }
function cut() {
    foreach (redis()->client('list') as $client) {
        $client['user'] === 'blog' && redis()->rawCommand('CLIENT', 'KILL', 'ID', $client['id']);
    }
}
$mark = WP_CONTENT_DIR . '/.object-cache-outdated';
set_error_handler(function ($level, $message, $file, $line) {
    if (error_reporting() & $level) {
        fwrite(STDERR, "FAILED: $message at $file:$line\n");
        exit(1);
    }
    return true;
});
require getenv('DROP_IN');
wp_cache_init();
"""


def users() -> str:
    """Return the users as the role writes them, and one for the tests."""
    templates = jinja2.Environment(  # noqa: S701 - what it makes is no HTML
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    templates.filters["hash"] = lambda text, name: hashlib.new(name, text.encode()).hexdigest()
    text = templates.from_string((REDIS_CACHE / "templates/users.acl.j2").read_text(encoding="utf-8")).render(
        load(REDIS_CACHE / "vars/main.yml"),
        redis_cache_users=[{"name": "blog", "password": "a-long-password", "prefix": "blog:"}],
    )
    return text.replace("user default off", "user default on nopass ~* &* +@all")


@dataclass
class Site:
    """A Redis server with the ACL of a site, and the folder of the site's scripts."""

    folder: Path
    server: subprocess.Popen[bytes]

    def php(
        self,
        code: str,
        *options: str,
        multisite: bool = False,
        early: bool = False,
        tls: int = 0,
        read_timeout: float = 0.3,
    ) -> str:
        """Run a script to its end and return what it logged; a failed assertion fails the test.

        Early is before WordPress has its functions; ``tls`` is a port, ``read_timeout`` is in seconds.
        """
        script = self.folder / "script.php"
        script.write_text(PREAMBLE + code, encoding="utf-8")
        done = subprocess.run(
            ["php", *options, "-d", "display_errors=stderr", "-d", "log_errors=1", "-d", "error_log=", str(script)],
            env={
                "PATH": "/usr/bin:/bin",
                "CONTENT": ".",
                # A path by which another user comes here too, whatever folders it is in.
                "SOCKET": "/proc/self/cwd/redis.sock",
                "SERVER": str(self.server.pid),
                "DROP_IN": str(DROP_IN),
                "MULTISITE": "1" if multisite else "",
                "EARLY": "1" if early else "",
                "TLS_PORT": str(tls or ""),
                "READ_TIMEOUT": str(read_timeout),
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stderr


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Site]:
    """Give a site with a Redis of its own; ``options`` are the server's."""
    if not shutil.which("php") or not shutil.which("redis-server"):
        pytest.skip("php and redis-server are not both on this machine")
    if subprocess.run(["php", "-r", "exit(class_exists('Redis') ? 0 : 1);"], check=False).returncode:
        pytest.skip("PHP on this machine has no redis extension")
    (folder / "acl").write_text(users(), encoding="utf-8")
    server = subprocess.Popen(
        [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            "redis.sock",
            "--unixsocketperm",
            "777",
            "--save",
            "",
            "--aclfile",
            "acl",
            *options,
        ],
        stdout=subprocess.PIPE,
        cwd=folder,
    )
    assert server.stdout
    assert any(b"accept connections" in line for line in server.stdout), "redis-server ended at its start"
    try:
        yield Site(folder, server)
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.communicate()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give a site with a Redis of its own."""
    with serving(tmp_path) as served:
        yield served


def test_values_come_back_as_they_were_stored(site: Site) -> None:
    logged = site.php(r"""
        $values = ['int' => 5, 'negative' => -7, 'text' => '5', 'float' => 1.5, 'false' => false, 'true' => true,
            'null' => null, 'empty' => '', 'list' => [1, [2]], 'object' => (object) ['a' => 1], 7 => 'numbered'];
        foreach ($values as $key => $value) {
            same(true, wp_cache_set($key, $value, 'g'), "set $key");
        }
        foreach ([$GLOBALS['wp_object_cache'], request()] as $cache) {
            foreach ($values as $key => $value) {
                $got = $cache->get($key, 'g', false, $found);
                same(true, $found, "found $key");
                same(serialize($value), serialize($got), "value $key");
            }
            same($values['list'], $cache->get_multiple(['list', 'none'], 'g')['list'], 'get_multiple');
            same(['null' => null, 'none' => false], $cache->get_multiple(['null', 'none'], 'g'), 'null is no miss');
        }
        $other = request();
        same(['int' => 5, 'none' => false], $other->get_multiple(['int', 'none'], 'g'), 'several at once');
        $counted = [$other->cache_hits, $other->cache_misses, $other->redis_hits, $other->redis_misses];
        same([1, 1, 1, 1], $counted, 'counted');
        same(1, $other->redis_calls, 'one round trip');

        same(false, $other->get('none', 'g', false, $found), 'a miss');
        same(false, $found, 'not found');

        $object = (object) ['a' => 1];
        wp_cache_set('o', $object);
        $object->a = 2;
        wp_cache_get('o')->a = 3;
        same(1, wp_cache_get('o')->a, 'objects are copies');

        wp_cache_set('closure', 'old');
        $function = fn () => 1;
        same(true, wp_cache_set('closure', $function), 'what cannot be kept is remembered for the request');
        same(true, is_object(wp_cache_get('closure')), 'and is there');
        same(false, request()->get('closure'), 'and nothing old is left of it');

        foreach (['', ' ', null, 1.5, false] as $key) {
            same(false, wp_cache_set($key, 1), 'no such key');
            same(false, wp_cache_get($key), 'no such key');
        }
        same(10, count($wrong), 'and it is said');
        ob_start();
        $GLOBALS['wp_object_cache']->stats();
        same(1, preg_match('/connected/', ob_get_clean()), 'stats');
        same(true, wp_cache_supports('flush_group'), 'supports');
        same(false, wp_cache_supports('anything'), 'does not support');
        foreach (redis()->keys('*') as $key) {
            same('blog:', substr($key, 0, 5), 'only keys of this site');
        }
    """)
    assert logged == ""


def test_add_replace_delete_and_count_follow_core(site: Site) -> None:
    site.php(r"""
        $other = request();
        same(true, wp_cache_add('k', 1), 'add');
        same(false, wp_cache_add('k', 2), 'add again');
        same(false, $other->add('k', 2), 'add by another request');
        same(['k' => false, 'l' => true], $other->add_multiple(['k' => 2, 'l' => 2]), 'add several');
        wp_suspend_cache_addition(true);
        same(false, wp_cache_add('suspended', 1), 'add while suspended');
        same(['suspended' => false], wp_cache_add_multiple(['suspended' => 1]), 'add several while suspended');
        wp_suspend_cache_addition(false);
        same(false, wp_cache_replace('none', 1), 'replace nothing');
        same(false, wp_cache_get('none'), 'nothing came of it');
        same(true, $other->replace('k', 3), 'replace');
        same(1, wp_cache_get('k'), 'the memory of this request');
        same(3, wp_cache_get('k', '', true), 'by force from Redis');
        same(['a' => true, 'b' => true], wp_cache_set_multiple(['a' => 1, 'b' => 2], 'g', 100), 'set several');
        same(['a' => true, 'none' => false], wp_cache_delete_multiple(['a', 'none'], 'g'), 'delete several');
        same(false, wp_cache_delete('a', 'g'), 'deleted before');
        same(false, request()->get('a', 'g'), 'gone for all');
        same(true, request()->delete('b', 'g'), 'delete what this request never read');

        same(false, wp_cache_incr('counter'), 'nothing to count');
        wp_cache_set('counter', 5, '', 100);
        same(7, $other->incr('counter', 2), 'incr');
        same(6, wp_cache_decr('counter'), 'decr sees the other request');
        same(0, wp_cache_decr('counter', 100), 'never below 0');
        wp_cache_set('text', 'words');
        same(3, wp_cache_incr('text', 3), 'words count as 0');
        wp_cache_set('number', '5');
        same(6, wp_cache_incr('number'), 'a number in a string');
        $keys = redis()->keys('*:default:counter');
        same(true, redis()->ttl($keys[0]) > 90, 'counting keeps the expiry');

        wp_cache_set('short', 1, '', 100);
        wp_cache_set('short', 2, '', -1);
        same(false, wp_cache_get('short'), 'expired at once');
        same(false, request()->get('short'), 'for all');

        wp_cache_add_non_persistent_groups(['counts']);
        wp_cache_set('k', 1, 'counts');
        same(1, wp_cache_get('k', 'counts', true), 'kept in memory');
        same(2, wp_cache_incr('k', 1, 'counts'), 'counted in memory');
        same([], redis()->keys('*counts*'), 'and only there');
        wp_cache_flush_runtime();
        same(false, wp_cache_get('k', 'counts'), 'until the memory is emptied');
        same(3, wp_cache_get('k'), 'which leaves Redis alone');
        same(false, is_file($mark), 'nothing was missed');
    """)


def test_counting_from_many_processes_loses_nothing(site: Site) -> None:
    site.php(r"""
        wp_cache_set('counter', 0);
        $children = [];
        for ($n = 0; $n < 4; $n++) {
            $child = proc_open([PHP_BINARY, '-r', '
                $_ENV = getenv();
                $code = file_get_contents(getenv("SCRIPT"));
                eval(substr($code, 5, strpos($code, "wp_cache_init();\n") - 5));
                wp_cache_init();
                for ($i = 0; $i < 50; $i++) {
                    if (wp_cache_incr("counter") === false) { exit(1); }
                }
            '], [], $pipes, null, getenv() + ['SCRIPT' => __FILE__]);
            $children[] = $child;
        }
        foreach ($children as $child) {
            same(0, proc_close($child), 'a child ends well');
        }
        same(200, wp_cache_get('counter', '', true), 'all counted');
    """)


def test_a_flush_reaches_this_site_only_and_all_its_requests(site: Site) -> None:
    site.php(r"""
        redis()->set('other:key', 'stays');
        wp_cache_set('k', 'old');
        wp_cache_set('k', 'old', 'posts');
        wp_cache_set('k', 'old', 'a:b');
        $running = request();
        same('old', $running->get('k'), 'a request on its way');

        same(true, request()->flush_group('posts'), 'flush a group');
        same(false, request()->get('k', 'posts'), 'the group is gone');
        same('old', request()->get('k'), 'the rest is there');

        same(true, request()->flush(), 'flush');
        same(false, request()->get('k'), 'all is gone');
        same('stays', redis()->get('other:key'), 'of this site alone');

        // The running request read its values before the flush: it must not put them back.
        same(true, $running->set('k2', 'derived from old'), 'it may go on');
        same('derived from old', $running->get('k2'), 'with its memory');
        same(false, request()->get('k2'), 'others do not see it');
        same(true, $running->set('k', 'again'), 'later ones neither');
        same(false, request()->get('k'), 'others do not see it');
        same(true, $running->add('k3', 1), 'what it adds it keeps for itself');
        same(1, $running->get('k3'), 'it is there');
        same(false, request()->get('k3'), 'others do not see it');

        // A deletion by it must reach the values of the new time.
        $late = request();
        $late->get('k');
        request()->flush();
        request()->set('k', 'stale soon');
        $late->delete('k');
        same(false, request()->get('k'), 'deleted in the new time');

        // After a flush of its own it starts anew.
        same(true, $running->flush(), 'own flush');
        $running->set('k', 'new');
        same('new', request()->get('k'), 'stored');
        $running->flush_group('posts');
        $running->set('k', 'newer', 'posts');
        same('newer', request()->get('k', 'posts'), 'stored after an own flush of the group');
        same(true, count(redis()->keys('blog:*')) > 3, 'old names remain until evicted');

        // Redis restarted empty: the same as a flush.
        redis()->flushAll();
        same(false, $running->get('nothing'), 'nothing there');
        same('newer', $running->get('k', 'posts'), 'the memory remains');
        request()->set('k', 'v');
        same('v', request()->get('k'), 'and it works on');
    """)


def test_blogs_of_a_network_are_apart_but_for_global_groups(site: Site) -> None:
    site.php(
        r"""
        wp_cache_add_global_groups(['users']);
        wp_cache_set('k', 'one');
        wp_cache_set('k', 'global', 'users');
        wp_cache_switch_to_blog(2);
        same(false, wp_cache_get('k'), 'another blog');
        same('global', wp_cache_get('k', 'users'), 'for all blogs');
        wp_cache_set('k', 'two');
        wp_cache_switch_to_blog(1);
        same('one', wp_cache_get('k'), 'the first blog again');
        same('one', request()->get('k'), 'in Redis too');
        same(true, wp_cache_flush(), 'flush');
        wp_cache_switch_to_blog(2);
        same(false, wp_cache_get('k'), 'is for all blogs');
    """,
        multisite=True,
    )


def test_the_site_goes_on_when_redis_dies_and_nothing_old_is_served_later(site: Site) -> None:
    logged = site.php(r"""
        wp_cache_set('option', 'old');
        same('old', wp_cache_get('option'), 'read');
        posix_kill((int) getenv('SERVER'), SIGSTOP);
        $start = microtime(true);
        same(false, wp_cache_get('unread'), 'Redis hangs: a miss');
        same(true, wp_cache_set('option', 'new'), 'a change');
        same('new', wp_cache_get('option'), 'seen by this request');
        same('new', wp_cache_get('option', '', true), 'by force too');
        same(true, wp_cache_add('added', 1), 'add');
        same(2, wp_cache_incr('added'), 'count');
        same(true, wp_cache_delete('added'), 'delete');
        same(true, wp_cache_flush_group('posts'), 'flush');
        same(true, microtime(true) - $start < 0.6, 'one time-out, not many');
        same(true, is_file($mark), 'the change is noted');
        posix_kill((int) getenv('SERVER'), SIGCONT);
        same('s:3:"old";', redis()->get(redis()->keys('*:default:option')[0]), 'Redis does not know');
        same(false, request()->get('option'), 'yet nobody is served the old value');
        same(false, is_file($mark), 'the note is gone');

        // A change that is missed after that is noted again, by the same request.
        wp_cache_delete('option');
        same(true, is_file($mark), 'noted again');
        request()->set('option', 'new');
        same('new', request()->get('option'), 'and it works on');
        same(false, is_file($mark), 'the note is gone');
    """)
    assert logged.count("\n") == 1, logged
    assert "without Redis" in logged
    assert "a-long-password" not in logged


def test_the_site_goes_on_without_redis(site: Site) -> None:
    site.server.kill()
    site.server.wait()
    logged = site.php(r"""
        $start = microtime(true);
        same(false, wp_cache_get('k'), 'a miss');
        same(true, wp_cache_set('k', 1), 'set');
        same(1, wp_cache_get('k'), 'get');
        same(true, wp_cache_flush(), 'flush');
        same(true, microtime(true) - $start < 0.3, 'at once');
    """)
    assert logged.count("without Redis") == 1, logged


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("redis()->rawCommand('ACL', 'SETUSER', 'blog', '-set');", "NOPERM"),
        ("redis()->rawCommand('REPLICAOF', '127.0.0.1', '1');", "READONLY"),
        ("redis()->rawCommand('ACL', 'DELUSER', 'blog');", ""),
    ],
)
def test_a_refused_write_is_a_missed_one(site: Site, trouble: str, said: str) -> None:
    logged = site.php(
        r"""
        wp_cache_set('k', 'old');
        TROUBLE
        same(true, wp_cache_set('k', 'new'), 'set');
        same('new', wp_cache_get('k'), 'get');
        same(true, is_file($mark), 'noted');
        same(false, request()->get('k'), 'nobody is served the old value');
    """.replace("TROUBLE", trouble)
    )
    assert "without Redis" in logged
    assert said in logged


def test_without_the_extension_or_when_disabled_the_memory_serves(site: Site) -> None:
    code = r"""
        same(true, wp_cache_set('k', 1), 'set');
        same(1, wp_cache_get('k'), 'get');
        same(true, is_file($mark), 'what Redis was not told is noted');
    """
    assert site.php("define('WP_REDIS_DISABLED', true);" + code) == ""
    # Without its php.ini PHP loads no extension, where the distribution builds redis as one.
    if subprocess.run(["php", "-n", "-r", "exit(class_exists('Redis') ? 0 : 1);"], check=False).returncode:
        assert "extension redis is missing" in site.php(code, "-n")


def test_a_request_that_saw_a_flush_goes_on_with_its_memory(site: Site) -> None:
    logged = site.php(r"""
        $running = request();
        $running->get('anything');
        request()->flush();
        $asked = 0;
        for ($i = 0; $i < 50; $i++) {
            if ($running->get(7, 'posts') === false) {
                $asked++;
                $running->add(7, (object) ['ID' => 7], 'posts');
            }
        }
        same(1, $asked, 'the database is asked once');
        same(false, request()->get(7, 'posts'), 'the others do not get what may be old');
        request()->set('theirs', 'new');
        same(false, $running->add('theirs', 'mine'), 'what the others have is not added');
        same('new', $running->get('theirs'), 'and is read');

        same(true, $running->set('n', 5), 'set');
        same(6, $running->incr('n'), 'count what it has set itself');
        same(4, $running->decr('n', 2), 'and back');
        same(true, $running->replace('n', 9), 'replace what it has set itself');
        same(9, $running->get('n'), 'it is there');
        same(false, $running->incr('none'), 'nothing to count');
        same(false, $running->replace('none', 1), 'nothing to replace');
        request()->set('theirs', 5);
        same(6, $running->incr('theirs'), 'what the others count');
        same(6, request()->get('theirs'), 'is counted for them');
        same(true, $running->replace('theirs', 0), 'what is replaced by something that may be old');
        same(false, request()->get('theirs'), 'is gone for them');

        // With its memory goes what is older than the flush: imports empty theirs from time to time.
        foreach ([fn () => $running->flush_runtime(), fn () => $running->cache = []] as $empty) {
            request()->flush();
            $running->get('anything else');
            $running->add('post', 'old');
            same(false, request()->get('post'), 'not stored yet');
            $empty();
            same(false, $running->get('post'), 'forgotten');
            same(true, $running->add('post', 'new'), 'added');
            same('new', request()->get('post'), 'and stored');
        }
        same(false, is_file($mark), 'nothing was missed');
    """)
    assert logged == ""


def test_a_lock_is_held_by_one_whatever_was_flushed(site: Site) -> None:
    site.php(r"""
        $one = request();
        $other = request();
        $one->get('anything');
        $other->get('anything');
        request()->flush();
        $other->get('anything'); // It knows of the flush, the first one does not yet.
        same(true, $one->add('lock', 1, 'locks', 30), 'a lock that nobody holds');
        same(1, $one->get('lock', 'locks'), 'its own is there');
        same(false, $other->add('lock', 1, 'locks', 30), 'another one that saw the flush');
        same(false, request()->add('lock', 1, 'locks', 30), 'a new one');
        same(false, request()->get('lock', 'locks'), 'what may be old cannot be read');
        $name = 'blog:' . redis()->hGet('blog:slipway:salts', 'site') . ':locks:lock';
        same(true, redis()->ttl($name) > 20 && redis()->ttl($name) <= 30, 'it ends by itself');
        same(true, $one->set('lock', 2, 'locks', 300), 'held longer');
        same(true, redis()->ttl($name) > 200, 'for the others too');
        same(false, request()->add('lock', 1, 'locks', 30), 'it is still held');
        same(true, $one->delete('lock', 'locks'), 'released');
        same(true, $other->add('lock', 1, 'locks', 30), 'and taken by the other');
        same(false, $one->add('lock', 1, 'locks', 30), 'not by both');

        request()->add('held', 'by a new one', 'locks', 30);
        same(false, $one->add('held', 1, 'locks', 30), 'held by a new one');

        same(true, $one->set('held', 'may be old', 'locks', 30), 'what it could not take it does not hold');
        same(true, request()->add('held', 1, 'locks', 30), 'what was there is deleted, as by any change');
        same(true, $one->add('kept', 1, 'locks', 30), 'taken');
        same(true, $one->set('kept', 2, 'locks'), 'changed without a word on how long');
        same(false, request()->add('kept', 1, 'locks', 30), 'it is still held');
        same([], array_filter(redis()->keys('blog:*:kept'), fn ($name) => redis()->ttl($name) < 0), 'not for good');

        // A rate limit that counts: add, then incr.
        same(true, $one->add('visits', 0, 'limits', 60), 'the first visit');
        same(1, $one->incr('visits', 1, 'limits'), 'counted');

        // What is no lock blocks nobody, nor does a limit on all lifetimes make it one.
        define('WP_REDIS_MAXTTL', 3600);
        same(true, $one->add('page', str_repeat('x', 1000), 'pages', 300), 'a page');
        same(true, request()->add('page', 'new', 'pages', 300), 'the others store theirs');
        same(true, $one->add('user', 7, 'userlogins'), 'a value for good');
        same(true, request()->add('user', 7, 'userlogins'), 'the others store theirs');
    """)


def test_a_flush_of_a_group_by_somebody_is_one_of_that_group(site: Site) -> None:
    site.php(r"""
        $running = request();
        $running->get('x', 'posts');
        $running->get('x', 'terms');
        request()->flush_group('posts');
        request()->flush_group('terms');
        $running->get('y', 'posts'); // By this it learns of both.
        same(true, $running->add('u', 1, 'users'), 'add to another group');
        same(true, $running->set('v', 1, 'users'), 'set');
        same([1, 1], array_values(request()->get_multiple(['u', 'v'], 'users')), 'stored for others');
        foreach (['posts', 'terms'] as $group) {
            $running->set('p', 'may be old', $group);
            $running->add('q', 'may be old', $group);
            same(['p' => false, 'q' => false], request()->get_multiple(['p', 'q'], $group), "not stored in $group");
        }
        same(true, $running->flush_group('posts'), 'a flush of its own');
        $running->set('p', 'new', 'posts');
        same('new', request()->get('p', 'posts'), 'and it stores again');
        $running->set('p', 'may be old', 'terms');
        same(false, request()->get('p', 'terms'), 'in that group alone');
    """)


def test_the_salts_of_groups_do_not_grow_without_end(site: Site) -> None:
    site.php(r"""
        wp_cache_set('k', 'v');
        for ($i = 0; $i < 1500; $i++) {
            same(true, wp_cache_flush_group("user-$i"), 'flush');
        }
        same(true, redis()->hLen('blog:slipway:salts') <= 1001, 'as many as a request may read');
        wp_cache_set('k', 'v', 'user-1');
        wp_cache_flush_group('user-1');
        same(false, request()->get('k', 'user-1'), 'flushed');
    """)


@pytest.mark.parametrize("lifetime", ["PHP_INT_MAX", "10 ** 16", "1e30", "INF", "'1e30'", "10 ** 12", "0x80000000"])
def test_a_lifetime_beyond_what_redis_takes_is_the_longest(site: Site, lifetime: str) -> None:
    logged = site.php(
        r"""
        define('WP_REDIS_MAXTTL', LIFETIME);
        wp_cache_set('alloptions', 'kept', 'options');
        $cache = request();
        same(true, $cache->set('set', 'v', 'transient', LIFETIME), 'set');
        same(true, $cache->add('add', 'v', 'transient', LIFETIME), 'add');
        same(true, $cache->replace('set', 'w', 'transient', LIFETIME), 'replace');
        same(['m' => true], $cache->set_multiple(['m' => 'v'], 'transient', LIFETIME), 'set several');
        same('w', $cache->get('set', 'transient'), 'in memory');
        $wanted = ['set' => 'w', 'add' => 'v', 'm' => 'v'];
        same($wanted, request()->get_multiple(array_keys($wanted), 'transient'), 'in Redis');
        same('kept', request()->get('alloptions', 'options'), 'and the rest is there');
        same(false, is_file($mark), 'this is no outage');
    """.replace("LIFETIME", lifetime)
    )
    assert logged == ""


def test_a_value_that_redis_refuses_is_no_outage(tmp_path: Path) -> None:
    with serving(tmp_path, "--proto-max-bulk-len", "1mb") as site:
        logged = site.php(
            r"""
            wp_cache_set('other', 'kept');
            wp_cache_set('large', 'old');
            $cache = request();
            $large = str_repeat('x', 3000000);
            same(true, $cache->set('large', $large), 'the request keeps it');
            same($large, $cache->get('large'), 'for itself');
            same(true, $cache->add('added', $large), 'by add too');
            same(true, $cache->set('after', 1), 'and stores');
            same(1, request()->get('after'), 'what it can');
            same(false, request()->get('large'), 'nobody is served the old value');
            same('kept', request()->get('other'), 'the rest is there');
            same(false, is_file($mark), 'this is no outage');
        """,
            read_timeout=3,
        )
    assert logged.count("\n") == 1, logged
    assert "refused" in logged


def test_it_works_before_wordpress_has_its_functions(site: Site) -> None:
    """Page caches load it from advanced-cache.php, and count and lock by it there."""
    logged = site.php(
        r"""
        same(true, wp_cache_add('visits', 0, 'batcache', 300), 'add');
        same(1, wp_cache_incr('visits', 1, 'batcache'), 'count');
        same(['a' => true], wp_cache_add_multiple(['a' => 1]), 'add several');
        same(true, wp_cache_set('b', 1), 'set');
        same([1, 1], array_values(wp_cache_get_multiple(['a', 'b'])), 'get');
        foreach (['', null, 1.5] as $key) {
            same(false, wp_cache_get($key), 'no key');
            same(false, wp_cache_set($key, 1), 'no key');
        }
        wp_cache_reset();
        same(true, wp_cache_delete('b'), 'delete');
        same(true, wp_cache_flush(), 'flush');
    """,
        early=True,
    )
    assert logged == ""


def test_a_long_process_whose_connection_was_cut_connects_again(site: Site) -> None:
    """Redis was restarted, or closed it as idle: nobody's cache is flushed for that."""
    logged = site.php(r"""
        $job = request();
        $job->set('job', 1);
        request()->set('alloptions', 'kept', 'options');
        foreach ([
            'set' => fn () => $job->set('row', 1),
            'get' => fn () => $job->get('row', '', true) === 1,
            'add' => fn () => $job->add('lock', 1, 'locks', 60),
            'incr' => fn () => $job->incr('row') === 2,
            'replace' => fn () => $job->replace('row', 7),
            'delete' => fn () => $job->delete('row'),
            'flush_group' => fn () => $job->flush_group('posts'),
        ] as $what => $call) {
            cut();
            same(true, $call(), $what);
            same(false, is_file($mark), "$what is not missed");
            same('kept', request()->get('alloptions', 'options'), "$what flushes nothing");
        }
        $job->set('row', 'stored');
        same('stored', request()->get('row'), 'it stores for all');
        cut();
        request()->flush();
        $job->set('row', 'may be old');
        same(false, request()->get('row'), 'a flush in the meantime is not missed');
    """)
    assert logged == ""


def test_a_long_process_looks_for_redis_again_after_a_while(site: Site) -> None:
    logged = site.php(r"""
        $job = request();
        $job->set('row', 'old');
        request()->set('alloptions', 'kept', 'options');
        posix_kill((int) getenv('SERVER'), SIGSTOP);
        same(true, $job->set('row', 'new'), 'missed');
        $start = microtime(true);
        for ($i = 0; $i < 20; $i++) {
            $job->set("row$i", 1);
        }
        same(true, microtime(true) - $start < 0.2, 'it does not wait for it each time');
        posix_kill((int) getenv('SERVER'), SIGCONT);
        same(true, is_file($mark), 'noted');
        $job->get('anything');
        same(true, is_file($mark), 'it is not back yet');

        $job->connect_at = $job->connect_at - 5; // Some seconds later.
        $job->get('anything');
        same(false, is_file($mark), 'flushed');
        same(false, request()->get('row'), 'nothing old is served');
        $job->set('row', 'may be old');
        same(false, request()->get('row'), 'nor stored, as after any flush');
        for ($i = 0; $i < 20; $i++) {
            $job->set("row$i", 2);
            request()->get('row');
        }
        request()->set('alloptions', 'kept', 'options');
        $job->set('row', 1);
        same('kept', request()->get('alloptions', 'options'), 'flushed once');
        $job->flush_runtime();
        $job->set('row', 'new');
        same('new', request()->get('row'), 'it stores again');

        // Longer and longer, when it fails again and again; from the start after a while in which it did not.
        posix_kill((int) getenv('SERVER'), SIGSTOP);
        $pauses = [];
        for ($i = 0; $i < 6; $i++) {
            $job->connect_at = hrtime(true) / 1e9 - 0.001;
            $job->get('anything', '', true);
            $pauses[] = (int) round($job->connect_at - hrtime(true) / 1e9);
        }
        same([10, 20, 40, 60, 60, 60], $pauses, 'pauses');
        posix_kill((int) getenv('SERVER'), SIGCONT);
        $job->connect_at = hrtime(true) / 1e9 - 100;
        $job->get('anything', '', true);
        cut();
        redis()->rawCommand('ACL', 'SETUSER', 'blog', 'off');
        $job->get('anything', '', true);
        same(5, (int) round($job->connect_at - hrtime(true) / 1e9), 'the first pause again');
    """)
    assert "without Redis for 5 s" in logged


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-ttl"])
def test_a_full_redis_is_of_use_again_after_a_flush(tmp_path: Path, policy: str) -> None:
    with serving(tmp_path, "--maxmemory", "8mb", "--maxmemory-policy", policy) as site:
        logged = site.php(r"""
            redis()->set('other:key', 'stays', 3600);
            wp_cache_set('first', 'value');
            $value = str_repeat('x', 10000);
            for ($i = 0; $i < 30; $i++) {
                $cache = request();
                for ($j = 0; $j < 50; $j++) {
                    same(true, $cache->set("p$i.$j", $value, 'pages'), 'set');
                }
                same(true, $cache->get("p$i.49", 'pages') === $value, 'the request has it');
                $got = request()->get_multiple(array_map(fn ($j) => "p$i.$j", range(0, 49)), 'pages');
                same(true, count(array_filter($got)) > 25, 'so have others, while it is full');
            }
            same(false, is_file($mark), 'this is no outage');
            for ($n = 0; $n < 3; $n++) {
                same(true, request()->flush(), 'flush');
                same(false, request()->get("p29.49", 'pages'), 'flushed');
                $cache = request();
                for ($j = 0; $j < 100; $j++) {
                    $cache->set("z$n.$j", $value, 'pages');
                }
                $got = request()->get_multiple(array_map(fn ($j) => "z$n.$j", range(0, 99)), 'pages');
                same(true, count(array_filter($got)) > 50, 'the next request finds what was stored');
            }
        """)
    assert "OOM" in logged
    assert "without Redis" not in logged


def test_a_redis_that_is_full_of_others_serves_what_it_has(site: Site) -> None:
    """Its own flush can free nothing there; nothing old is served for that."""
    logged = site.php(r"""
        wp_cache_set('kept', 'v');
        wp_cache_set('k', 'old');
        wp_cache_set('n', 5);
        redis()->config('SET', 'maxmemory', '1');
        $cache = request();
        same('v', $cache->get('kept'), 'what it has');
        same(true, $cache->set('k', 'new'), 'set');
        same('new', $cache->get('k'), 'this request has it');
        same(false, request()->get('k'), 'nobody is served the old value');
        same(6, $cache->incr('n'), 'count');
        same(6, $cache->get('n'), 'this request has it');
        same(false, request()->get('n'), 'nobody is served the old value');
        same(true, $cache->add('a', 1), 'add');
        same(false, $cache->add('kept', 1), 'add what is there');
        same('v', request()->get('kept'), 'it stays');
        same(false, is_file($mark), 'this is no outage');
        same(true, $cache->flush(), 'a flush cannot be told');
        same(true, is_file($mark), 'so it is noted');
        same(false, request()->get('kept'), 'flushed');
        redis()->config('SET', 'maxmemory', '0');
        request()->set('kept', 'new');
        same('new', request()->get('kept'), 'and it works on');
    """)
    assert "OOM" in logged


def test_a_mark_that_cannot_be_removed_is_heeded_once_and_said(site: Site) -> None:
    logged = site.php(r"""
        wp_cache_set('k', 'old');
        touch($mark, time() - 10);
        chmod('.', 0555); // Somebody's who is not the site, as root's files are for the site's user.
        posix_getuid() === 0 && posix_setuid(65534);
        same(false, request()->get('k'), 'nothing old is served');
        same(true, is_file($mark), 'it is still there');
        request()->set('k', 'new');
        same('new', request()->get('k'), 'flushed once');
        request()->flush();
        request()->set('k', 'newer');
        same('newer', request()->get('k'), 'once, though there was another flush');
    """)
    assert logged.count("cannot be removed") == 1, logged


def test_a_mark_of_another_user_in_the_site_s_folder_is_left_anew(site: Site) -> None:
    if subprocess.run(["id", "-u"], capture_output=True, check=True).stdout != b"0\n":
        pytest.skip("only root can leave another user's file")
    logged = site.php(r"""
        touch($mark);
        chown('.', 65534);
        posix_setuid(65534);
        posix_kill((int) getenv('SERVER'), 0);
        define('WP_REDIS_DISABLED', true);
        same(true, wp_cache_flush(), 'the flush is noted');
        same(65534, fileowner($mark), 'by a mark of its own');
    """)
    assert logged == ""


def test_others_may_touch_what_core_lets_them(site: Site) -> None:
    logged = site.php(
        r"""
        global $wp_object_cache;
        $before = memory_get_usage();
        for ($i = 0; $i < 500; $i++) {
            wp_cache_set("k$i", str_repeat('x', 5000));
        }
        same(true, memory_get_usage() - $before > 2000000, 'it is full');
        same(true, isset($wp_object_cache->cache), 'isset');
        same(500, count($wp_object_cache->cache['default']), 'read');
        $wp_object_cache->cache = [];
        same(true, memory_get_usage() - $before < 500000, 'emptied by ->cache = []');
        same(str_repeat('x', 5000), wp_cache_get('k1'), 'Redis has them');
        unset($wp_object_cache->cache);
        same([], $wp_object_cache->cache, 'emptied by unset');
        $wp_object_cache->cache = ['default' => ['1:k' => 'given']];
        same('given', wp_cache_get('k'), 'set');
        same('1:', $wp_object_cache->blog_prefix, 'blog_prefix');
        same(true, isset($wp_object_cache->blog_prefix), 'isset of what is private');
        same(false, isset($wp_object_cache->group_ops), 'isset of nothing');
        // What imports of many a plugin empty, whatever the cache.
        foreach (['group_ops', 'stats', 'memcache_debug', 'cache'] as $name) {
            $wp_object_cache->$name = [];
            same([], $wp_object_cache->$name, $name);
        }
        $wp_object_cache->multisite = false;
        same(false, $wp_object_cache->multisite, 'set what is private');
        ob_start();
        $wp_object_cache->stats();
        same(true, ob_get_clean() !== '', 'stats can still be called');
    """,
        multisite=True,
    )
    assert logged == ""


def test_why_tls_failed_is_said(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not on this machine")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=redis.example.test",
            "-keyout",
            "key",
            "-out",
            "crt",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tls = ["--tls-port", str(port), "--tls-cert-file", "crt", "--tls-key-file", "key", "--tls-auth-clients", "no"]
    with serving(tmp_path, *tls) as site:
        logged = site.php(
            r"""
            same(true, wp_cache_set('k', 1), 'set');
            same(1, wp_cache_get('k'), 'get');
        """,
            tls=port,
        )
    assert logged.count("\n") == 1, logged
    assert "certificate verify failed" in logged


def test_odd_keys_and_groups_stay_apart(site: Site) -> None:
    site.php(r"""
        $keys = ['a b', "a\nb", "a\0b", "a\r\n\$1\r\n", '0', 0, -1, '*', '?', '[a]', 'a:b', ' a', 'a ', "\xff\xfe", 'ü',
            '%3A', str_repeat('k', 100000), 'slipway:salts', 'site'];
        $groups = ['a', 'a:b', ':', 'a%3Ab', '%', ' ', "\n", "\0", '0', 'slipway', 'default', '', "\xff", 'A'];
        foreach ($groups as $number => $group) {
            foreach ($keys as $other => $key) {
                wp_cache_set($key, "$number/$other", $group);
            }
        }
        $same = fn ($group) => in_array($group, ['', '0', 'default'], true) ? 11 : array_search($group, $groups, true);
        $other = request();
        foreach ($groups as $group) {
            foreach ($keys as $key) {
                // A key is a string in Redis, and a group that is empty by PHP's rules is the default one, as in core.
                $wanted = $same($group) . '/' . array_search($key === '0' ? 0 : $key, $keys, true);
                same($wanted, $other->get($key, $group), json_encode([$key, $group], JSON_INVALID_UTF8_SUBSTITUTE));
            }
        }
        same(count($keys), count($other->get_multiple($keys, 'a:b')) + 1, 'several at once');
        same(true, request()->flush_group('a'), 'flush a group');
        same(false, request()->get('a b', 'a'), 'it is flushed');
        same(true, request()->get('a b', 'a:b') !== false, 'no other is');
        same(true, request()->get('a b', 'A') !== false, 'no other is');
    """)


def test_a_call_is_one_round_trip(site: Site) -> None:
    """Counted by the server: each trip looks at the salts by one HMGET, and no other command goes alone."""
    site.php(r"""
        redis()->rawCommand('CONFIG', 'RESETSTAT');
        $trips = function () {
            $stats = redis()->info('commandstats');
            redis()->rawCommand('CONFIG', 'RESETSTAT');
            $count = fn ($name) => (int) preg_replace('/^calls=(\d+).*/', '$1', $stats["cmdstat_$name"] ?? '0');
            $ours = ['hmget', 'mget', 'set', 'unlink', 'exists', 'hgetall', 'auth'];
            return array_filter(array_combine($ours, array_map($count, $ours)));
        };
        $cache = request();
        $cache->get('warm');
        $trips();
        foreach ([
            'get' => [fn () => $cache->get('a'), ['hmget' => 1, 'mget' => 1]],
            'get_multiple' => [fn () => $cache->get_multiple(['a', 'b', 'c']), ['hmget' => 1, 'mget' => 1]],
            'set' => [fn () => $cache->set('a', 1), ['hmget' => 1, 'set' => 1]],
            'add' => [fn () => $cache->add('b', 1), ['hmget' => 1, 'set' => 1]],
            'add what is known' => [fn () => $cache->add('b', 1), []],
            'get what is known' => [fn () => $cache->get('b'), []],
            'set_multiple' => [fn () => $cache->set_multiple(['c' => 1, 'd' => 1]), ['hmget' => 1, 'set' => 2]],
            'replace' => [fn () => $cache->replace('c', 1), ['hmget' => 1, 'set' => 1]],
            'delete' => [fn () => $cache->delete('c'), ['hmget' => 1, 'unlink' => 1]],
            'the first get' => [fn () => request()->get('a'), ['hmget' => 1, 'mget' => 1, 'hgetall' => 1, 'auth' => 1]],
        ] as $what => [$call, $wanted]) {
            $call();
            same($wanted, $trips(), $what);
        }
        same(8, $cache->redis_calls, 'counted by the cache itself');
    """)


@pytest.mark.parametrize("trouble", ["nothing", "flush", "group", "cut"])
def test_a_request_sees_what_it_did_itself_whatever_others_do(site: Site, trouble: str) -> None:
    """Many random calls, each with the answer that a cache in the memory of one request would give, as core's is."""
    logged = site.php(
        r"""
        class Model
        {
            public $values = [];
            public function add($k, $v, $g) { return isset($this->values[$g][$k]) ? false : $this->set($k, $v, $g); }
            public function set($k, $v, $g) { $this->values[$g][$k] = [$v]; return true; }
            public function replace($k, $v, $g) { return isset($this->values[$g][$k]) && $this->set($k, $v, $g); }
            public function get($k, $g) { return isset($this->values[$g][$k]) ? $this->values[$g][$k][0] : false; }
            public function delete($k, $g) {
                $was = isset($this->values[$g][$k]);
                unset($this->values[$g][$k]);
                return $was;
            }
            public function incr($k, $by, $g) {
                if (!isset($this->values[$g][$k])) { return false; }
                $now = $this->values[$g][$k][0];
                return $this->values[$g][$k][0] = max(0, (is_numeric($now) ? $now : 0) + $by);
            }
            public function decr($k, $by, $g) { return $this->incr($k, -$by, $g); }
            public function flush_group($g) { unset($this->values[$g]); return true; }
            public function flush() { $this->values = []; return true; }
        }
        $keys = ['a', 'b', 1, '1x', 'a b'];
        $groups = ['g', 'h:i', 'default'];
        $values = [1, 0, -3, '5', 'text', null, false, true, 1.5, [1], '', str_repeat('z', 300)];
        for ($run = 0; $run < 20; $run++) {
            mt_srand($run);
            $pick = fn ($list) => $list[mt_rand(0, count($list) - 1)];
            request()->flush();
            [$model, $cache, $done] = [new Model(), request(), []];
            for ($step = 0; $step < 80; $step++) {
                if (in_array($step, [9, 19, 29], true)) {
                    'TROUBLE' === 'flush' && request()->flush();
                    'TROUBLE' === 'group' && request()->flush_group('g');
                    'TROUBLE' === 'cut' && cut();
                }
                [$key, $group, $value, $by] = [$pick($keys), $pick($groups), $pick($values), mt_rand(0, 3)];
                $call = $pick([
                    ['add', $key, $value, $group], ['set', $key, $value, $group], ['replace', $key, $value, $group],
                    ['get', $key, $group], ['delete', $key, $group], ['incr', $key, $by, $group],
                    ['decr', $key, $by, $group],
                    ...('TROUBLE' === 'nothing' && $step % 20 === 0 ? [['flush_group', $group], ['flush']] : []),
                ]);
                // Lifetimes change nothing within the request; they make locks of what is added.
                $ours = in_array($call[0], ['add', 'set', 'replace'], true) ? [...$call, $pick([0, 60])] : $call;
                $done[] = json_encode($ours);
                $what = "run $run: " . implode(' ', array_slice($done, -8));
                $method = array_shift($call);
                array_shift($ours);
                same($model->$method(...$call), $cache->$method(...$ours), $what);
            }
            $cache->get('the last look');
            foreach ($groups as $group) {
                foreach ($keys as $key) {
                    $got = request()->get($key, $group, false, $found);
                    if ('TROUBLE' === 'flush' || ('TROUBLE' === 'group' && $group === 'g')) {
                        same(false, $found, "run $run: what may be old is not for others: $key of $group");
                    } elseif ($found) {
                        same($model->get($key, $group), $got, "run $run: others see the same: $key of $group");
                    }
                }
            }
        }
        same(false, is_file($mark), 'nothing was missed');
    """.replace("TROUBLE", trouble)
    )
    assert logged == ""
