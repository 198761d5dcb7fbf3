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
 *    flushed learns of it, and what it still holds from before the flush is not stored any more: it
 *    deletes instead of writing, until its end. Without this, old values would enter the new cache.
 *
 * 3. A change that Redis was not told of (it was away, too slow or full) leaves a mark, an empty
 *    file in wp-content. The next request that reaches Redis flushes first. So what Redis
 *    still held from before an outage is not served after it. The bound: requests that were already
 *    connected may use the old values until they end, and hosts that serve one site must share
 *    wp-content, as they must for its uploads.
 */

defined('ABSPATH') || exit;

function wp_cache_init()
{
    $GLOBALS['wp_object_cache'] = new WP_Object_Cache();
}

function wp_cache_add($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->add($key, $data, $group, (int) $expire);
}

function wp_cache_add_multiple(array $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->add_multiple($data, $group, (int) $expire);
}

function wp_cache_replace($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->replace($key, $data, $group, (int) $expire);
}

function wp_cache_set($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->set($key, $data, $group, (int) $expire);
}

function wp_cache_set_multiple(array $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->set_multiple($data, $group, (int) $expire);
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
    _deprecated_function(__FUNCTION__, '3.5.0', 'wp_cache_switch_to_blog()');
    $GLOBALS['wp_object_cache']->reset();
}

/** The cache: the memory of this request, and behind it Redis, as long as it answers. */
#[AllowDynamicProperties] // As in core: plugins hang their own data on the object.
class WP_Object_Cache
{
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

    /** @var array<string, string> Field of the salts' hash => salt. */
    private $salts = [];

    /** @var Redis|null The connection; null before the first use, and for good after a failure. */
    private $redis = null;
    private $tried = false;

    /** Somebody else flushed while this request was running (see 2. above). */
    private $outdated = false;

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

    public function add($key, $data, $group = 'default', $expire = 0)
    {
        return $this->is_valid_key($key, __FUNCTION__) && $this->add_multiple([$key => $data], $group, $expire)[$key];
    }

    public function add_multiple(array $data, $group = '', $expire = 0)
    {
        // Asked for by imports and exports, which read much that nobody reads again.
        if (wp_suspend_cache_addition()) {
            return array_fill_keys(array_keys($data), false);
        }
        return $this->store($data, $group, (int) $expire, 'nx');
    }

    public function replace($key, $data, $group = 'default', $expire = 0)
    {
        return $this->is_valid_key($key, __FUNCTION__) && $this->store([$key => $data], $group, (int) $expire, 'xx')[$key];
    }

    public function set($key, $data, $group = 'default', $expire = 0)
    {
        return $this->is_valid_key($key, __FUNCTION__) && $this->set_multiple([$key => $data], $group, $expire)[$key];
    }

    public function set_multiple(array $data, $group = '', $expire = 0)
    {
        return $this->store($data, $group, (int) $expire, '');
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
        return true;
    }

    public function flush_group($group)
    {
        $group = $this->group($group);
        unset($this->memory[$group], $this->expiry[$group]);
        return isset($this->local_groups[$group]) || $this->renew($group);
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
        $state = $this->redis ? 'connected' : ($this->tried ? 'not available' : 'not used yet');
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
    private function store(array $data, $group, int $expire, string $mode): array
    {
        $group = $this->group($group);
        $result = [];
        $ids = [];
        // An outdated request may not store (see 2. above); "not added" is always a true answer.
        $outdated = $this->outdated && !isset($this->local_groups[$group]);
        foreach ($data as $key => $value) {
            $id = $this->id($key, $group);
            $known = $this->in_memory($group, $id);
            $result[$key] = false;
            if ($this->is_valid_key($key, __FUNCTION__) && !($mode === 'nx' && ($known || $outdated))) {
                $ids[$key] = $id;
                $result[$key] = $mode !== 'xx' || $known; // Redis, if it is there, has the last word below.
            }
        }

        $written = $this->write($group, $ids, function ($pipe, $name, $key) use ($data, $expire, $mode) {
            $text = $expire < 0 ? null : self::encode($data[$key]);
            if ($text === null) {
                // Expired already, or nothing that can be kept: at least no older value may stay.
                return $pipe->unlink($name);
            }
            $options = $mode === '' ? [] : [$mode];
            $limit = (int) self::config('MAXTTL', 0);
            $ttl = $limit > 0 ? min($expire ?: $limit, $limit) : $expire;
            return $pipe->set($name, $text, $ttl > 0 ? $options + ['ex' => $ttl] : $options);
        });
        foreach ($written ?? [] as $key => $reply) {
            $result[$key] = $mode === '' || (bool) $reply;
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
        $redis = isset($this->local_groups[$group]) ? null : $this->connection();
        if ($redis === null) {
            isset($this->local_groups[$group]) || $this->leave_mark();
            if (!$this->in_memory($group, $id)) {
                return false;
            }
            return $this->memory[$group][$id] = self::sum($this->memory[$group][$id], $offset);
        }

        try {
            // Optimistic: somebody else's change in between makes the transaction fail, and us look again.
            for ($attempt = 0; $attempt < 100; $attempt++) {
                $name = $this->name($group, $id);
                $redis->watch($name);
                $texts = $this->read($group, [$id]);
                if ($texts === null) {
                    return $this->count($key, $offset, $group);
                }
                if ($name !== $this->name($group, $id)) {
                    $redis->unwatch();
                    continue;
                }
                $value = null;
                if ($texts[0] === false || !self::decode($texts[0], $value)) {
                    $redis->unwatch();
                    $this->forget($group, $id);
                    return false;
                }
                $value = self::sum($value, $offset);
                $redis->multi();
                $redis->set($name, self::encode($value), ['xx', 'keepttl']);
                $done = $redis->exec();
                if (is_array($done)) {
                    self::check($redis, $done[0] ?? false);
                    return $this->memory[$group][$id] = $value;
                }
                self::check($redis, true);
            }
        } catch (Throwable $error) {
            $this->fail($error);
            return $this->count($key, $offset, $group);
        }
        return false;
    }

    private static function sum($value, int $offset)
    {
        return max(0, (is_numeric($value) ? $value : 0) + $offset);
    }

    /** @return array<int|string, string|false>|null Key => stored text; null when Redis is not there. */
    private function read(string $group, array $ids): ?array
    {
        $command = fn ($pipe) => $pipe->mget(array_values(array_map(fn ($id) => $this->name($group, $id), $ids)));
        // Twice when the first one found that somebody flushed: the keys have other names now.
        $replies = $this->exchange($group, $command, $current);
        if ($replies !== null && !$current) {
            $replies = $this->exchange($group, $command, $current);
        }
        return $replies === null ? null : array_combine(array_keys($ids), $replies[0]);
    }

    /**
     * Sends one command for each key, given as function($pipe, $name, $key).
     *
     * @return array<int|string, mixed>|null Key => reply; null when Redis is not there.
     */
    private function write(string $group, array $ids, callable $command): ?array
    {
        if ($ids === [] || isset($this->local_groups[$group])) {
            return null;
        }
        $all = fn ($command) => function ($pipe) use ($group, $ids, $command) {
            foreach ($ids as $key => $id) {
                $command($pipe, $this->name($group, $id), $key);
            }
        };
        $delete = fn ($pipe, $name, $key) => $pipe->unlink($name);

        $replies = $this->connection() ? $this->exchange($group, $all($this->outdated ? $delete : $command), $current) : null;
        if ($replies !== null && !$current) {
            $replies = $this->exchange($group, $all($delete), $current);
        }
        if ($replies === null) {
            $this->leave_mark();
            return null;
        }
        return array_combine(array_keys($ids), $replies);
    }

    /**
     * One round trip: the salts that matter, then the commands.
     *
     * @param bool $current Set to whether the salts are still those that the commands were built with.
     * @return list<mixed>|null The replies; null when Redis is not there.
     */
    private function exchange(string $group, callable $commands, &$current): ?array
    {
        $redis = isset($this->local_groups[$group]) ? null : $this->connection();
        if ($redis === null) {
            return null;
        }
        try {
            $this->redis_calls++;
            $fields = ['site', 'group:' . $group];
            $known = array_map(fn ($field) => $this->salts[$field] ?? false, $fields);
            $pipe = $redis->pipeline();
            $pipe->hMGet($this->salts_name(), $fields);
            $commands($pipe);
            $replies = $pipe->exec();
            self::check($redis, $replies);
            $current = array_values((array) array_shift($replies)) === $known;
            if (!$current) {
                $this->learn($redis);
                $this->outdated = true;
            }
            return $replies;
        } catch (Throwable $error) {
            $this->fail($error);
            return null;
        }
    }

    /** The connection, made at the first need; null when there is none. Tried once in a request. */
    private function connection(): ?Redis
    {
        if ($this->tried) {
            return $this->redis;
        }
        $this->tried = true;
        if (self::config('DISABLED', false)) {
            return null;
        }
        try {
            $redis = $this->connect();
            $this->learn($redis);
            $this->redis = $redis;
        } catch (Throwable $error) {
            $this->fail($error);
            return null;
        }
        // The mark goes first: a change missed from here on leaves a new one. renew() restores it if it fails.
        if (is_file($this->mark) && @unlink($this->mark)) {
            $this->renew(null);
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
        // "@": a name that cannot be resolved is a warning besides the exception.
        @$redis->connect(
            $scheme === 'unix' ? self::config('PATH', '/run/redis/redis.sock') : ($scheme === 'tls' ? "tls://$host" : $host),
            $scheme === 'unix' ? 0 : (int) self::config('PORT', 6379),
            (float) self::config('TIMEOUT', 1),
            null,
            0,
            (float) self::config('READ_TIMEOUT', 1),
            $context ? ['stream' => $context] : []
        );
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

    /** Reads the salts, and draws the site's first one if it has none (a new or an emptied Redis). */
    private function learn(Redis $redis): void
    {
        $salts = $redis->hGetAll($this->salts_name());
        if (!isset($salts['site'])) {
            self::check($redis, true);
            $redis->hSetNx($this->salts_name(), 'site', self::draw());
            $salts = $redis->hGetAll($this->salts_name());
        }
        self::check($redis, isset($salts['site']));
        $this->salts = $salts;
    }

    /** Draws a new salt for a group, or for the whole site (null). False: it could not even be noted. */
    private function renew(?string $group): bool
    {
        $redis = $this->connection();
        if ($redis === null) {
            return $this->leave_mark();
        }
        try {
            $salt = self::draw();
            $redis->multi();
            if ($group === null) {
                $redis->del($this->salts_name());
            }
            $redis->hSet($this->salts_name(), $group === null ? 'site' : 'group:' . $group, $salt);
            self::check($redis, $redis->exec());
            if ($group === null) {
                // The memory is empty now too, so nothing of this request is older than the flush.
                $this->salts = ['site' => $salt];
                $this->outdated = false;
            } else {
                $this->salts['group:' . $group] = $salt;
            }
            return true;
        } catch (Throwable $error) {
            $this->fail($error);
            return $this->leave_mark();
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

    /** Goes on without Redis until the end of the request, and says so once. */
    private function fail(Throwable $error): void
    {
        $this->redis = null;
        error_log('Object cache: this request goes on without Redis: ' . $error->getMessage());
    }

    /** Notes that Redis was not told of a change (see 3. above). */
    private function leave_mark(): bool
    {
        if (@touch($this->mark)) {
            return true;
        }
        static $said = false;
        $said || error_log("Object cache: $this->mark cannot be written; Redis may serve old values when it is back");
        $said = true;
        return false;
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
        _doing_it_wrong(__CLASS__ . '::' . $method, $message, '6.1.0');
        return false;
    }
}
