<?php

/**
 * Plugin Name: Slipway object cache
 * Description: Keeps WordPress's object cache in Redis. The site goes on without it when Redis is away.
 * Version: 1.0.0
 * Requires PHP: 8.0
 *
 * A drop-in: WordPress loads it from wp-content/object-cache.php in place of its own
 * wp-includes/cache.php. It takes the constants of the well-known Redis plugin, so that either can
 * be used with the same wp-config.php: WP_REDIS_SCHEME (tcp, tls or unix), _HOST, _PORT, _PATH,
 * _PASSWORD (a string, or [user, password]), _PREFIX, _DATABASE, _TIMEOUT and _READ_TIMEOUT (in
 * seconds, 1 each), _MAXTTL (in seconds, none), _SSL_CONTEXT, _DISABLED.
 *
 * Three things are worth knowing before a change here.
 *
 * 1. A flush renames, it does not delete. All keys of a site carry a random "salt", kept in one
 *    hash at <prefix>slipway:salts; a flush draws a new one. That is one atomic command whatever
 *    the number of keys, it cannot touch another site, and it needs neither FLUSHDB nor SCAN (which
 *    an ACL cannot confine to a prefix: it shows every site's key names). The old keys are never
 *    read again, so an LRU policy evicts them first. A group that was flushed has its own salt.
 *
 * 2. Every round trip looks at the salts too. So a request that was on its way when another one
 *    flushed learns of it, and what it still holds from before the flush is not stored any more,
 *    until its end or until it empties its memory: it deletes instead of writing, and keeps its values
 *    for itself. Without this, old values would enter the new cache. After a flush of a group that
 *    is so for this group alone. A lock (a short value added with a lifetime) does reach the others, as
 *    a claim: an empty value, which nobody can read and nobody else can add.
 *
 * 3. A change that Redis was not told of (it was away or too slow) leaves a mark, an empty
 *    file in wp-content. The next request that reaches Redis flushes first. So what Redis
 *    still held from before an outage is not served after it. The bound: requests that were already
 *    connected may use the old values until they end, and hosts that serve one site must share
 *    wp-content, as they must for its uploads. A value that Redis refuses (too large, or there is no
 *    memory left) is no outage: what it would have replaced is deleted.
 */

defined('ABSPATH') || exit;

function wp_cache_init()
{
    $GLOBALS['wp_object_cache'] = new WP_Object_Cache();
}

function wp_cache_add($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->add($key, $data, $group, $expire);
}

function wp_cache_add_multiple(array $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->add_multiple($data, $group, $expire);
}

function wp_cache_replace($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->replace($key, $data, $group, $expire);
}

function wp_cache_set($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->set($key, $data, $group, $expire);
}

function wp_cache_set_multiple(array $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->set_multiple($data, $group, $expire);
}

function wp_cache_get($key, $group = '', $force = false, &$found = null)
{
    return $GLOBALS['wp_object_cache']->get($key, $group, $force, $found);
}

function wp_cache_get_multiple($keys, $group = '', $force = false)
{
    return $GLOBALS['wp_object_cache']->get_multiple($keys, $group, $force);
}

function wp_cache_delete($key, $group = '')
{
    return $GLOBALS['wp_object_cache']->delete($key, $group);
}

function wp_cache_delete_multiple(array $keys, $group = '')
{
    return $GLOBALS['wp_object_cache']->delete_multiple($keys, $group);
}

function wp_cache_incr($key, $offset = 1, $group = '')
{
    return $GLOBALS['wp_object_cache']->incr($key, $offset, $group);
}

function wp_cache_decr($key, $offset = 1, $group = '')
{
    return $GLOBALS['wp_object_cache']->decr($key, $offset, $group);
}

function wp_cache_flush()
{
    return $GLOBALS['wp_object_cache']->flush();
}

function wp_cache_flush_runtime()
{
    return $GLOBALS['wp_object_cache']->flush_runtime();
}

function wp_cache_flush_group($group)
{
    return $GLOBALS['wp_object_cache']->flush_group($group);
}

function wp_cache_supports($feature)
{
    $features = ['add_multiple', 'set_multiple', 'get_multiple', 'delete_multiple', 'flush_runtime', 'flush_group'];
    return in_array($feature, $features, true);
}

function wp_cache_close()
{
    // Code that runs later in the shutdown may still use the cache; PHP closes the connection.
    return true;
}

function wp_cache_add_global_groups($groups)
{
    $GLOBALS['wp_object_cache']->add_global_groups($groups);
}

function wp_cache_add_non_persistent_groups($groups)
{
    $GLOBALS['wp_object_cache']->add_non_persistent_groups($groups);
}

function wp_cache_switch_to_blog($blog_id)
{
    $GLOBALS['wp_object_cache']->switch_to_blog($blog_id);
}

function wp_cache_reset()
{
    // Page caches use this file before WordPress has the functions of its wp-includes/functions.php.
    function_exists('_deprecated_function') && _deprecated_function(__FUNCTION__, '3.5.0', 'wp_cache_switch_to_blog()');
    $GLOBALS['wp_object_cache']->reset();
}

/** The cache: the memory of this request, and behind it Redis, as long as it answers. */
#[AllowDynamicProperties] // As in core: plugins hang their own data on the object.
class WP_Object_Cache
{
    /** The longest lifetime, in seconds (68 years). Redis refuses what is far beyond it. */
    private const FOREVER = 0x7fffffff;

    /** What stands in Redis for a lock of a request that may not store (see 2. above): no value reads like it. */
    private const CLAIM = '';

    /** Seconds without Redis after a failure: at first, and after many failures in a row. */
    private const PAUSE = 5;
    private const LONGEST_PAUSE = 60;

    /** The number of groups with a salt of their own beyond which all are flushed: each request reads the salts. */
    private const MOST_SALTS = 1000;

    /** Values found, in memory or in Redis, and values not found. */
    public $cache_hits = 0;
    public $cache_misses = 0;

    /** The share of Redis: values found there, not found there, and round trips made. */
    public $redis_hits = 0;
    public $redis_misses = 0;
    public $redis_calls = 0;

    /** @var array<string, bool> Groups that all blogs of a network share. */
    public $global_groups = [];

    /** @var array<string, bool> Groups that stay in the memory of this request. */
    private $local_groups = [];

    /** @var array<string, array<string, mixed>> Values by group and id. */
    private $memory = [];

    /** @var array<string, array<string, int>> When a value in memory expires, in Unix time. */
    private $expiry = [];

    /**
     * The hash at salts_name(): "site" and "group:NAME" are salts, "names" is there where the names of all keys are
     * kept (see keeps_names()), "mark" says which mark that could not be removed was heeded.
     *
     * @var array<string, string>
     */
    private $salts = [];

    /** @var Redis|null The connection; null before the first use, and for a while after a failure. */
    private $redis = null;

    /** When to connect, in seconds of a clock that nobody sets; and how long the last pause was. */
    private $connect_at = -INF;
    private $pause = 0;

    /** @var array<string, bool> Salts that somebody else renewed while this request was running (see 2. above). */
    private $outdated = [];

    /** @var array<string, bool> Names of the claims of this request. */
    private $claims = [];

    private $said_refused = false;

    private $multisite;
    private $blog_prefix;
    private $prefix;
    private $mark;

    public function __construct()
    {
        $this->multisite = is_multisite();
        $this->switch_to_blog($this->multisite ? get_current_blog_id() : 0);
        $this->prefix = trim((string) self::config('PREFIX', defined('WP_CACHE_KEY_SALT') ? WP_CACHE_KEY_SALT : ''));
        $this->mark = WP_CONTENT_DIR . '/.object-cache-outdated';
    }

    // Core lets everybody read and set what is private; imports empty the memory by "->cache = []".

    public function __get($name)
    {
        return $name === 'cache' ? $this->memory : $this->$name;
    }

    public function __set($name, $value)
    {
        if ($name === 'cache') {
            $this->flush_runtime();
            $this->memory = (array) $value;
        } else {
            $this->$name = $value;
        }
    }

    public function __isset($name)
    {
        return $name === 'cache' || isset($this->$name);
    }

    public function __unset($name)
    {
        if ($name === 'cache') {
            $this->flush_runtime();
        } else {
            unset($this->$name);
        }
    }

    public function add($key, $data, $group = 'default', $expire = 0)
    {
        return $this->is_valid_key($key, __FUNCTION__) && $this->add_multiple([$key => $data], $group, $expire)[$key];
    }

    public function add_multiple(array $data, $group = '', $expire = 0)
    {
        // Asked for by imports and exports, which read much that nobody reads again.
        if (function_exists('wp_suspend_cache_addition') && wp_suspend_cache_addition()) {
            return array_fill_keys(array_keys($data), false);
        }
        return $this->store($data, $group, $expire, 'nx');
    }

    public function replace($key, $data, $group = 'default', $expire = 0)
    {
        return $this->is_valid_key($key, __FUNCTION__) && $this->store([$key => $data], $group, $expire, 'xx')[$key];
    }

    public function set($key, $data, $group = 'default', $expire = 0)
    {
        return $this->is_valid_key($key, __FUNCTION__) && $this->set_multiple([$key => $data], $group, $expire)[$key];
    }

    public function set_multiple(array $data, $group = '', $expire = 0)
    {
        return $this->store($data, $group, $expire, '');
    }

    public function get($key, $group = 'default', $force = false, &$found = null)
    {
        $values = $this->is_valid_key($key, __FUNCTION__) ? $this->fetch([$key], $group, (bool) $force) : [];
        $found = $values !== [];
        return $found ? reset($values) : false;
    }

    public function get_multiple($keys, $group = 'default', $force = false)
    {
        $keys = array_values((array) $keys);
        $valid = array_filter($keys, fn ($key) => $this->is_valid_key($key, 'get_multiple'));
        $values = $this->fetch($valid, $group, (bool) $force);
        $result = [];
        foreach ($keys as $key) {
            $result[$key] = array_key_exists($key, $values) ? $values[$key] : false;
        }
        return $result;
    }

    public function delete($key, $group = 'default', $deprecated = false)
    {
        return $this->is_valid_key($key, __FUNCTION__) && $this->delete_multiple([$key], $group)[$key];
    }

    public function delete_multiple(array $keys, $group = '')
    {
        $group = $this->group($group);
        $result = [];
        $ids = [];
        foreach ($keys as $key) {
            $result[$key] = false;
            if ($this->is_valid_key($key, __FUNCTION__)) {
                $ids[$key] = $this->id($key, $group);
                $result[$key] = $this->in_memory($group, $ids[$key]);
                $this->forget($group, $ids[$key]);
            }
        }
        $deleted = $this->write($group, $ids, fn ($pipe, $name, $key) => $pipe->unlink($name));
        foreach ($deleted ?? [] as $key => $count) {
            $result[$key] = $result[$key] || $count > 0;
        }
        return $result;
    }

    public function incr($key, $offset = 1, $group = 'default')
    {
        return $this->is_valid_key($key, __FUNCTION__) ? $this->count($key, (int) $offset, $group) : false;
    }

    public function decr($key, $offset = 1, $group = 'default')
    {
        return $this->is_valid_key($key, __FUNCTION__) ? $this->count($key, - (int) $offset, $group) : false;
    }

    /** Empties the cache of this site (of all its blogs), and of no other. */
    public function flush()
    {
        $this->flush_runtime();
        return $this->renew(null);
    }

    public function flush_runtime()
    {
        $this->memory = [];
        $this->expiry = [];
        // With the memory goes what was older than somebody's flush.
        $this->outdated = [];
        return true;
    }

    public function flush_group($group)
    {
        $group = $this->group($group);
        unset($this->memory[$group], $this->expiry[$group]);
        if (isset($this->local_groups[$group])) {
            return true;
        }
        return count($this->salts) > self::MOST_SALTS ? $this->flush() : $this->renew($group);
    }

    public function add_global_groups($groups)
    {
        $this->global_groups = array_fill_keys((array) $groups, true) + $this->global_groups;
    }

    public function add_non_persistent_groups($groups)
    {
        $this->local_groups = array_fill_keys((array) $groups, true) + $this->local_groups;
    }

    public function switch_to_blog($blog_id)
    {
        $this->blog_prefix = $this->multisite ? (int) $blog_id . ':' : '';
    }

    public function reset()
    {
        $this->memory = array_intersect_key($this->memory, $this->global_groups);
        $this->expiry = array_intersect_key($this->expiry, $this->global_groups);
    }

    /** Prints what the cache did for this request, as core's own does. */
    public function stats()
    {
        $state = $this->redis ? 'connected' : ($this->connect_at > -INF ? 'not available' : 'not used yet');
        printf(
            '<p><strong>Cache Hits:</strong> %d<br /><strong>Cache Misses:</strong> %d<br />'
            . '<strong>Redis:</strong> %s, %d hits, %d misses, %d round trips</p><ul>',
            $this->cache_hits,
            $this->cache_misses,
            $state,
            $this->redis_hits,
            $this->redis_misses,
            $this->redis_calls
        );
        foreach ($this->memory as $group => $values) {
            printf('<li><strong>Group:</strong> %s - %d values</li>', esc_html($group), count($values));
        }
        echo '</ul>';
    }

    // From here on: how it works.

    /**
     * Stores values; mode '' always, 'nx' only where there is none yet, 'xx' only where there is one.
     *
     * @return array<int|string, bool> Key => whether it was stored.
     */
    private function store(array $data, $group, $expire, string $mode): array
    {
        $group = $this->group($group);
        $expire = self::seconds($expire);
        $limit = self::seconds(self::config('MAXTTL', 0));
        $ttl = $limit > 0 ? min($expire ?: $limit, $limit) : $expire;
        $result = [];
        $ids = [];
        $known = [];
        foreach ($data as $key => $value) {
            $id = $this->id($key, $group);
            $known[$key] = $this->in_memory($group, $id);
            $result[$key] = false;
            if ($this->is_valid_key($key, __FUNCTION__) && !($mode === 'nx' && $known[$key])) {
                $ids[$key] = $id;
                $result[$key] = $mode !== 'xx' || $known[$key]; // Redis, if it is there, has the last word below.
            }
        }

        $sent = [];
        $command = function ($pipe, $name, $key, bool $outdated, bool $refused) use ($data, $expire, $ttl, $mode, &$sent) {
            $options = ($mode === '' ? [] : [$mode]) + ($ttl > 0 ? ['ex' => $ttl] : []);
            if ($refused || $expire < 0) {
                $text = null;
            } elseif (!$outdated) {
                $text = self::encode($data[$key]);
            } elseif ($mode === 'nx') {
                $text = $expire > 0 && is_scalar($data[$key]) && strlen((string) $data[$key]) <= 100 ? self::CLAIM : null;
            } else {
                $text = isset($this->claims[$name]) ? self::CLAIM : null;
                $options = $expire > 0 ? ['xx', 'ex' => $ttl] : ['xx', 'keepttl'];
            }
            if ($text !== null) {
                $sent[$key] = $outdated ? 'claim' : 'set';
                return $pipe->set($name, $text, $options);
            }
            // Expired already, not to be stored, or nothing that can be kept: at least no older value may stay. What
            // is added never takes the place of another value.
            $sent[$key] = $mode === 'nx' ? 'exists' : 'unlink';
            return $mode === 'nx' ? $pipe->exists($name) : $pipe->unlink($name);
        };
        foreach ($this->write($group, $ids, $command, true) ?? [] as $key => $reply) {
            if ($mode === 'nx') {
                $result[$key] = $sent[$key] === 'exists' ? !$reply : (bool) $reply;
                if ($result[$key] && $sent[$key] === 'claim') {
                    $this->claims[$this->name($group, $ids[$key])] = true;
                }
            } elseif ($mode === 'xx') {
                $result[$key] = (bool) $reply || ($sent[$key] === 'unlink' && $known[$key]);
            }
        }

        foreach ($ids as $key => $id) {
            $this->forget($group, $id);
            if ($result[$key] && $expire >= 0) {
                $this->memory[$group][$id] = is_object($data[$key]) ? clone $data[$key] : $data[$key];
                if ($expire > 0) {
                    $this->expiry[$group][$id] = time() + $expire;
                }
            }
        }
        return $result;
    }

    /** @return array<int|string, mixed> Key => value, of those found. */
    private function fetch(array $keys, $group, bool $force): array
    {
        $group = $this->group($group);
        $force = $force && !isset($this->local_groups[$group]);
        $ids = [];
        foreach ($keys as $key) {
            $ids[$key] = $this->id($key, $group);
        }

        $ask = array_filter($ids, fn ($id) => $force || !$this->in_memory($group, $id));
        $texts = $ask ? $this->read($group, $ask) : null;
        foreach ($texts ?? [] as $key => $text) {
            $value = null;
            $hit = $text !== false && self::decode($text, $value);
            $this->redis_hits += (int) $hit;
            $this->redis_misses += (int) !$hit;
            $this->forget($group, $ids[$key]);
            if ($hit) {
                $this->memory[$group][$ids[$key]] = $value;
            }
        }

        $found = [];
        foreach ($ids as $key => $id) {
            if ($this->in_memory($group, $id)) {
                $value = $this->memory[$group][$id];
                $found[$key] = is_object($value) ? clone $value : $value;
            }
        }
        $this->cache_hits += count($found);
        $this->cache_misses += count($ids) - count($found);
        return $found;
    }

    /** Adds to a number that is there, as core does: never below 0, and what is no number counts as 0. */
    private function count($key, int $offset, $group)
    {
        $group = $this->group($group);
        $id = $this->id($key, $group);
        $met = [];
        // Optimistic: somebody else's change in between makes the transaction fail, and us look again.
        for ($attempt = 0; $attempt < 100; $attempt++) {
            $redis = isset($this->local_groups[$group]) ? null : $this->connection();
            if ($redis === null) {
                isset($this->local_groups[$group]) || $this->leave_mark();
                return $this->count_in_memory($group, $id, $offset);
            }
            $started = self::now();
            $value = null;
            try {
                $name = $this->name($group, $id);
                $redis->watch($name);
                $texts = $this->read($group, [$id]);
                if ($redis !== $this->redis || $name !== $this->name($group, $id)) {
                    // Another connection, or another name: what is watched is not what was read.
                    $this->redis && $this->redis->unwatch();
                    continue;
                }
                if ($texts[0] === false || !self::decode($texts[0], $value)) {
                    $redis->unwatch();
                    if ($this->is_outdated($group)) {
                        return $this->count_in_memory($group, $id, $offset);
                    }
                    $this->forget($group, $id);
                    return false;
                }
                $value = self::sum($value, $offset);
                $redis->multi();
                $redis->set($name, self::encode($value), ['xx', 'keepttl']);
                $met['cut'] = true; // From here on it may have been counted, so it is not sent again.
                $done = $redis->exec();
                if (is_array($done)) {
                    self::check($redis, $done[0] ?? false);
                    return $this->memory[$group][$id] = $value;
                }
                self::check($redis, true);
            } catch (Throwable $error) {
                if ($this->tries_again($error, $started, $met) && isset($met['refused'])) {
                    $this->write($group, [$key => $id], fn ($pipe, $name) => $pipe->unlink($name));
                    return $this->memory[$group][$id] = $value;
                }
            }
        }
        return false;
    }

    private function count_in_memory(string $group, string $id, int $offset)
    {
        if (!$this->in_memory($group, $id)) {
            return false;
        }
        return $this->memory[$group][$id] = self::sum($this->memory[$group][$id], $offset);
    }

    private static function sum($value, int $offset)
    {
        return max(0, (is_numeric($value) ? $value : 0) + $offset);
    }

    /** @return array<int|string, string|false>|null Key => stored text; null when Redis is not there. */
    private function read(string $group, array $ids): ?array
    {
        $names = fn () => array_values(array_map(fn ($id) => $this->name($group, $id), $ids));
        $replies = $this->exchange($group, fn ($pipe) => $pipe->mget($names()));
        return $replies === null ? null : array_combine(array_keys($ids), $replies[0]);
    }

    /**
     * Sends one command for each key, given as function($pipe, $name, $key, bool $outdated, bool $refused): whether this
     * request may not store in the group, and whether Redis has just refused the command.
     *
     * @param bool $stores Whether there are values afterwards where there were none.
     * @return array<int|string, mixed>|null Key => reply; null when Redis is not there.
     */
    private function write(string $group, array $ids, callable $command, bool $stores = false): ?array
    {
        if ($ids === [] || isset($this->local_groups[$group])) {
            return null;
        }
        $replies = $this->exchange($group, function ($pipe, bool $refused) use ($group, $ids, $command, $stores) {
            $outdated = $this->is_outdated($group);
            $names = [];
            foreach ($ids as $key => $id) {
                $names[] = $this->name($group, $id);
                $command($pipe, end($names), $key, $outdated, $refused);
            }
            if ($stores && !$refused && isset($this->salts['names'])) {
                $pipe->sAdd($this->prefix . 'slipway:names', ...$names);
            }
        });
        if ($replies === null) {
            $this->leave_mark();
            return null;
        }
        return array_combine(array_keys($ids), array_slice($replies, 0, count($ids)));
    }

    /**
     * One round trip: the salts that matter, then the commands, given as function($pipe, bool $refused). Another one
     * when somebody flushed (the keys have other names now), when Redis refused the commands, or when it had closed
     * the connection.
     *
     * @return list<mixed>|null The replies; null when Redis is not there.
     */
    private function exchange(string $group, callable $commands): ?array
    {
        $fields = ['site', 'group:' . $group];
        $met = [];
        $flushes = 0;
        while (!isset($this->local_groups[$group]) && ($redis = $this->connection()) !== null) {
            $started = self::now();
            try {
                $this->redis_calls++;
                $known = array_map(fn ($field) => $this->salts[$field] ?? false, $fields);
                $pipe = $redis->pipeline();
                $pipe->hMGet($this->salts_name(), $fields);
                $commands($pipe, isset($met['refused']));
                $replies = @$pipe->exec(); // A broken pipe is a notice besides the exception.
                self::check($redis, $replies);
                if (array_values((array) array_shift($replies)) === $known || ++$flushes > 3) {
                    return $replies;
                }
                $this->learn($redis);
            } catch (Throwable $error) {
                if (!$this->tries_again($error, $started, $met)) {
                    return null;
                }
            }
        }
        return null;
    }

    /**
     * Whether what failed is worth another attempt over a new connection: once when Redis refused the commands for what
     * is in them or for want of memory ("refused"), and once when it had closed the connection ("cut"). Otherwise
     * this request goes on without Redis for a while.
     *
     * @param array<string, bool> $met Which of them was met before, kept for the next call.
     */
    private function tries_again(Throwable $error, float $started, array &$met): bool
    {
        $this->redis = null; // Replies may be left in it.
        $code = preg_match('/^[A-Z]+(?= )/', $error->getMessage(), $found) ? $found[0] : '';
        // Some things are refused without a word, by closing the connection each time: what is far too large, say.
        $refused = in_array($code, ['ERR', 'OOM', 'WRONGTYPE'], true) || ($code === '' && isset($met['cut']));
        $kind = $refused ? 'refused' : 'cut';
        // An answer that names another state, or none in time: the next attempt would fare no better.
        $slow = self::now() - $started > 0.9 * (float) self::config('READ_TIMEOUT', 1);
        $lasting = $code === '' ? $slow : !$refused;
        if ($lasting || isset($met[$kind])) {
            $this->fail($error);
            return false;
        }
        $met[$kind] = true;
        if ($kind === 'refused' && !$this->said_refused) {
            $this->said_refused = true;
            error_log('Object cache: Redis refused a value, which this request keeps for itself: ' . $error->getMessage());
        }
        if ($code === 'OOM' && isset($this->salts['names']) && $this->connection()) {
            try {
                $this->drop_values($this->redis, 100);
            } catch (Throwable $error) {
                $this->redis = null;
            }
        }
        return true;
    }

    /** The connection, made at the first need, and anew some seconds after a failure; null when there is none. */
    private function connection(): ?Redis
    {
        if ($this->redis !== null || self::now() < $this->connect_at) {
            return $this->redis;
        }
        if (self::config('DISABLED', false)) {
            $this->connect_at = INF;
            return null;
        }
        $first = $this->salts === [];
        try {
            $redis = $this->connect();
            $this->learn($redis);
            $this->redis = $redis;
        } catch (Throwable $error) {
            $this->fail($error);
            return null;
        }
        if ($this->heed_mark() && !$first) {
            // Unlike after a flush of its own, this request may still hold what is older.
            $this->outdated['site'] = true;
        }
        return $this->redis;
    }

    private function connect(): Redis
    {
        if (!class_exists('Redis')) {
            throw new RuntimeException('the PHP extension redis is missing');
        }
        $scheme = self::config('SCHEME', 'tcp');
        $host = self::config('HOST', '127.0.0.1');
        $context = self::config('SSL_CONTEXT', null);
        $redis = new Redis();
        // The exception alone doesn't say why: a name without an address, a certificate that nobody signed.
        $reasons = [];
        set_error_handler(function ($level, $reason) use (&$reasons) {
            return (bool) $reasons[] = trim(preg_replace('/\s+/', ' ', $reason));
        });
        try {
            $connected = $redis->connect(
                $scheme === 'unix' ? self::config('PATH', '/run/redis/redis.sock') : ($scheme === 'tls' ? "tls://$host" : $host),
                $scheme === 'unix' ? 0 : (int) self::config('PORT', 6379),
                (float) self::config('TIMEOUT', 1),
                null,
                0,
                (float) self::config('READ_TIMEOUT', 1),
                $context ? ['stream' => $context] : []
            );
            $connected || $reasons[] = 'no connection';
        } catch (RedisException $error) {
            $reasons[] = $error->getMessage();
            $connected = false;
        } finally {
            restore_error_handler();
        }
        if (!$connected) {
            throw new RuntimeException(implode('; ', array_unique($reasons)));
        }
        // Its own reconnecting would wait for the time-out again and again.
        if (defined('Redis::OPT_MAX_RETRIES')) {
            $redis->setOption(Redis::OPT_MAX_RETRIES, 0);
        }
        $password = self::config('PASSWORD', null);
        if ($password) {
            self::check($redis, $redis->auth($password));
        }
        $database = (int) self::config('DATABASE', 0);
        if ($database) {
            self::check($redis, $redis->select($database));
        }
        return $redis;
    }

    /**
     * Reads the salts, and draws the site's first one if it has none (a new or an emptied Redis). Notes which of those
     * that this request has used are others now.
     */
    private function learn(Redis $redis): void
    {
        $salts = $redis->hGetAll($this->salts_name());
        if (!isset($salts['site'])) {
            self::check($redis, true);
            $redis->hSetNx($this->salts_name(), 'site', self::draw());
            if ($this->keeps_names($redis)) {
                $redis->hSet($this->salts_name(), 'names', '1');
            }
            $salts = $redis->hGetAll($this->salts_name());
        }
        self::check($redis, isset($salts['site']));
        foreach ($this->salts ? $salts + $this->salts : [] as $field => $salt) {
            if (($salts[$field] ?? '') !== ($this->salts[$field] ?? '')) {
                $this->outdated[$field] = true;
            }
        }
        $this->salts = $salts;
    }

    /**
     * Draws a new salt for a group, or for the whole site (null). False: it could not even be noted.
     *
     * @param string|null $mark Which mark is heeded by it, where it stays.
     */
    private function renew(?string $group, ?string $mark = null): bool
    {
        $met = [];
        while (($redis = $this->connection()) !== null) {
            $started = self::now();
            try {
                $fields = [$group === null ? 'site' : 'group:' . $group => self::draw()];
                if ($group === null) {
                    isset($this->salts['names']) && $this->drop_values($redis, PHP_INT_MAX);
                    $fields += $this->keeps_names($redis) ? ['names' => '1'] : [];
                    $fields += array_filter(['mark' => $mark ?? $this->salts['mark'] ?? '']);
                }
                $redis->multi();
                if ($group === null) {
                    $redis->del($this->salts_name());
                }
                $redis->hMSet($this->salts_name(), $fields);
                self::check($redis, $redis->exec());
                if ($group === null) {
                    // The memory is empty now too, so nothing of this request is older than the flush.
                    $this->salts = $fields;
                    $this->outdated = [];
                } else {
                    $this->salts = $fields + $this->salts;
                    unset($this->outdated['group:' . $group]);
                }
                return true;
            } catch (Throwable $error) {
                $this->tries_again($error, $started, $met);
            }
        }
        return $this->leave_mark();
    }

    /**
     * Whether Redis would sooner refuse new values than drop old ones, as by its own default. A flush has to delete
     * there, and so the names of all keys are kept in a set.
     */
    private function keeps_names(Redis $redis): bool
    {
        $info = [];
        try {
            $info = $redis->info('memory');
        } catch (RedisException $error) {
            // Not permitted. If it is away, the next command says so.
        }
        $redis->clearLastError();
        return ($info['maxmemory'] ?? 0) > 0 && strpos($info['maxmemory_policy'] ?? '', 'allkeys-') !== 0;
    }

    /** Deletes values whose names are kept: any of them, since nobody knows which are in use. */
    private function drop_values(Redis $redis, int $most): void
    {
        while ($most > 0 && $names = $redis->sPop($this->prefix . 'slipway:names', min($most, 1000))) {
            $redis->del($names);
            $most -= count($names);
        }
    }

    /** Throws when a command was refused (out of memory, read-only, no permission) or got no answer. */
    private static function check(Redis $redis, $reply): void
    {
        $error = $redis->getLastError();
        if ($error !== null || $reply === false) {
            throw new RuntimeException($error ?? 'no answer');
        }
    }

    /** Goes on without Redis for some seconds, and says so: for most requests until their end. */
    private function fail(Throwable $error): void
    {
        $this->redis = null;
        $now = self::now();
        // What lasted for a while before it failed is a new trouble.
        $lasted = $now - $this->connect_at > self::LONGEST_PAUSE;
        $this->pause = $lasted ? self::PAUSE : min(self::LONGEST_PAUSE, 2 * $this->pause);
        $this->connect_at = $now + $this->pause;
        error_log("Object cache: this request goes on without Redis for $this->pause s: " . $error->getMessage());
    }

    /** Notes that Redis was not told of a change (see 3. above). */
    private function leave_mark(): bool
    {
        // One of another user can be removed, though not touched, where the folder is the site's.
        if (@touch($this->mark) || (@unlink($this->mark) && @touch($this->mark))) {
            return true;
        }
        static $said = false;
        $said || error_log("Object cache: $this->mark cannot be written; Redis may serve old values when it is back");
        $said = true;
        return false;
    }

    /** Flushes where a change was missed; whether it was so. */
    private function heed_mark(): bool
    {
        clearstatcache(true, $this->mark);
        $left = @filemtime($this->mark);
        if ($left === false) {
            return false;
        }
        // The mark goes first: a change missed from here on leaves a new one. renew() restores it if it fails.
        if (@unlink($this->mark)) {
            $this->renew(null);
            return true;
        }
        clearstatcache(true, $this->mark);
        if (!is_file($this->mark) || ($this->salts['mark'] ?? '') === (string) $left) {
            return false; // Another request was first.
        }
        error_log("Object cache: flushed, as $this->mark says, but it cannot be removed; outages are not noted while it is there");
        // Within its second it may be left once more.
        $this->renew(null, $left < time() - 1 ? (string) $left : '');
        return true;
    }

    private function is_outdated(string $group): bool
    {
        return isset($this->outdated['site']) || isset($this->outdated['group:' . $group]);
    }

    private function in_memory(string $group, string $id): bool
    {
        if (isset($this->expiry[$group][$id]) && $this->expiry[$group][$id] <= time()) {
            $this->forget($group, $id);
        }
        return isset($this->memory[$group]) && array_key_exists($id, $this->memory[$group]);
    }

    private function forget(string $group, string $id): void
    {
        unset($this->memory[$group][$id], $this->expiry[$group][$id]);
    }

    private function group($group): string
    {
        return empty($group) ? 'default' : (string) $group;
    }

    private function id($key, string $group): string
    {
        return (isset($this->global_groups[$group]) ? '' : $this->blog_prefix) . $key;
    }

    /** The key in Redis. The group is encoded so that a ":" in it cannot make two names one. */
    private function name(string $group, string $id): string
    {
        $salt = $this->salts['site'] . ($this->salts['group:' . $group] ?? '');
        return $this->prefix . $salt . ':' . rawurlencode($group) . ':' . $id;
    }

    private function salts_name(): string
    {
        return $this->prefix . 'slipway:salts';
    }

    /** Random, never counted: a counter lost with Redis's memory would come back to old numbers. */
    private static function draw(): string
    {
        return bin2hex(random_bytes(6));
    }

    /** Integers stay readable; everything else, false and null too, is serialized. Null: not possible. */
    private static function encode($value): ?string
    {
        try {
            return is_int($value) ? (string) $value : serialize($value);
        } catch (Throwable $error) {
            return null; // A closure, say. Core's own cache holds those, so the request's memory does.
        }
    }

    private static function decode(string $text, &$value): bool
    {
        if (preg_match('/^-?\d+$/', $text)) {
            $value = (int) $text;
            return true;
        }
        try {
            $value = @unserialize($text);
            return $value !== false || $text === 'b:0;';
        } catch (Throwable $error) {
            return false;
        }
    }

    /** A lifetime as Redis takes it: below 0 is expired, 0 has none. */
    private static function seconds($given): int
    {
        return (int) max(-1, min((float) $given, self::FOREVER));
    }

    /** Seconds of a clock that nobody sets. */
    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }

    private static function config(string $name, $default)
    {
        return defined("WP_REDIS_$name") ? constant("WP_REDIS_$name") : $default;
    }

    /** Core's rule: an integer, or a string that is not blank. */
    private function is_valid_key($key, string $method): bool
    {
        if (is_int($key) || (is_string($key) && trim($key) !== '')) {
            return true;
        }
        $message = is_string($key)
            ? 'Cache key must not be an empty string.'
            : sprintf('Cache key must be an integer or a non-empty string, %s given.', gettype($key));
        function_exists('_doing_it_wrong') && _doing_it_wrong(__CLASS__ . '::' . $method, $message, '6.1.0');
        return false;
    }
}
