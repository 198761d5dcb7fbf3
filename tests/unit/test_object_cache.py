"""The object cache drop-in, in a real PHP against a real Redis on a private socket.

Each test is a short PHP script. Two ``WP_Object_Cache`` objects in one script are two requests: each
has its own memory and its own connection. Of WordPress only the few functions that the drop-in calls
are stood in for.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

DROP_IN = Path(__file__).parents[2] / "roles/php_fpm_wordpress/files/object-cache.php"

# What the role grants the site's user: its own keys, and nothing that reaches further.
ACL = "user blog on >a-long-password ~blog:* resetchannels +@all -@dangerous -@admin -scan -randomkey -dbsize\n"

PREAMBLE = r"""<?php
define('ABSPATH', '/nowhere/');
define('WP_CONTENT_DIR', getenv('CONTENT'));
define('WP_REDIS_SCHEME', 'unix');
define('WP_REDIS_PATH', getenv('SOCKET'));
define('WP_REDIS_PASSWORD', ['blog', 'a-long-password']);
define('WP_REDIS_PREFIX', 'blog:');
define('WP_REDIS_READ_TIMEOUT', 0.3);
function is_multisite() { return (bool) getenv('MULTISITE'); }
function get_current_blog_id() { return 1; }
function wp_suspend_cache_addition($to = null) { static $now = false; return $now = $to ?? $now; }
function _doing_it_wrong($function, $message, $version) { $GLOBALS['wrong'][] = $function; }
function _deprecated_function() {}
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


@dataclass
class Site:
    """A Redis server with the ACL of a site, and the folder of the site's scripts."""

    folder: Path
    server: subprocess.Popen[bytes]

    def php(self, code: str, *options: str, multisite: bool = False) -> str:
        """Run a script to its end and return what it logged; a failed assertion fails the test."""
        script = self.folder / "script.php"
        script.write_text(PREAMBLE + code, encoding="utf-8")
        done = subprocess.run(
            ["php", *options, "-d", "display_errors=stderr", "-d", "log_errors=1", "-d", "error_log=", str(script)],
            env={
                "PATH": "/usr/bin:/bin",
                "CONTENT": str(self.folder),
                "SOCKET": str(self.folder / "redis.sock"),
                "SERVER": str(self.server.pid),
                "DROP_IN": str(DROP_IN),
                "MULTISITE": "1" if multisite else "",
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give a site with a Redis of its own."""
    if not shutil.which("php") or not shutil.which("redis-server"):
        pytest.skip("php and redis-server are not both on this machine")
    if subprocess.run(["php", "-r", "exit(class_exists('Redis') ? 0 : 1);"], check=False).returncode:
        pytest.skip("PHP on this machine has no redis extension")
    (tmp_path / "acl").write_text(ACL + "user default on nopass ~* +@all\n", encoding="utf-8")
    socket = tmp_path / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--aclfile", str(tmp_path / "acl")],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert server.stdout
    assert any(b"accept connections" in line for line in server.stdout), "redis-server ended at its start"
    yield Site(tmp_path, server)
    server.send_signal(signal.SIGCONT)
    server.kill()
    server.communicate()


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
        same(false, $running->add('k3', 1), 'nor can it add');

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
        ("redis()->config('SET', 'maxmemory', '1');", "OOM"),
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
