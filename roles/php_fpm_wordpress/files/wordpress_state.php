<?php

/**
 * Brings one WordPress site to a wanted state, and tells what it changed.
 *
 *     php wordpress_state.php [--check] [--files] < wanted.json
 *
 * Run by the command line PHP as the site's own user. The wanted state comes on the standard input,
 * so that no password is on a command line; its keys are listed in State::KEYS. One JSON object goes
 * to the standard output: {"changed", "changes", "notes", "kept", "version", "db_version"}, or
 * {"error": "one line"} with exit status 1. Everything else goes to the standard error.
 *
 * --check  reports what would be changed, and changes nothing.
 * --files  stops after the files (core and object cache); needs no database.
 *
 * It may be cut at any moment: running it again repairs what was left.
 *
 * The file functions are called unqualified on purpose: in a namespace, the tests can put a rename()
 * in front of PHP's own that cuts the run at each step.
 */

declare(strict_types=1);

namespace Slipway\WordPress;

use FilesystemIterator;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;
use RuntimeException;
use Throwable;

/** A reason to stop that the operator can act on; the message is one line without a secret. */
final class StateError extends RuntimeException
{
}

final class State
{
    /** Key of the wanted state => [its type, whether the files alone need it, default (none: required)]. */
    private const KEYS = [
        'root' => ['string', true],
        'config' => ['string', false],
        'version' => ['string', true],
        'archive' => ['string', true],
        'archive_checksum' => ['string', true],
        'url' => ['string', false],
        'title' => ['string', false],
        'language' => ['string', false],
        'timezone' => ['string', false],
        'permalinks' => ['string', false],
        'admin' => ['array', false],
        'users' => ['array', false, []],
        'object_cache' => ['string', true, null],
        'update_password' => ['string', false, 'on_create'],
        'language_archive' => ['string', false, null],
    ];

    // All below the root: a rename is atomic on one file system only, and the root may be a volume.
    // They are dot files, which the web server does not serve.
    private const MARKER = '/.slipway-core.json';          // what was deployed; written last
    private const JOURNAL = '/.slipway-core-update.json';  // what is being deployed
    private const INSTALLED = '/.slipway-database';        // that the site has a database; nothing is in it
    private const STAGE = '/.slipway-core-stage';
    private const LOCK = '/.slipway-lock';
    private const LOCK_SECONDS = 300;

    private const DROP_IN_HEADER = 'Plugin Name: Slipway object cache';
    private const MAINTENANCE_HEADER = '/* Slipway: core is being updated */';
    private const INSTALLING_TABLE = 'slipway_installing';

    public string $root = '';
    private bool $answered = false;
    private bool $kept = false;
    private bool $coreChanged = false;
    private bool $dropInChanged = false;
    private bool $httpAllowed = false;
    private bool $loading = true;
    /** @var list<string> */
    private array $changes = [];
    /** @var list<string> */
    private array $notes = [];
    /** @var array<string, mixed> */
    private array $wanted = [];
    private string $output = '';
    /** @var resource|null Held until the end of the process. */
    private $lock = null;

    public function __construct(private bool $check, private bool $filesOnly)
    {
        ini_set('display_errors', 'stderr');
        ini_set('memory_limit', '256M'); // What WordPress itself asks for in its administration.
        set_time_limit(0);
        umask(0027);
        // WordPress prints HTML here and there; the standard output is for the answer alone.
        ob_start(function (string $text): string {
            $this->output = substr($this->output . $text, -2000);
            fwrite(STDERR, $text);
            return '';
        }, 1);
        register_shutdown_function(function (): void {
            if (!$this->answered) {
                $error = error_get_last();
                $this->fail($error && $error['type'] & (E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR)
                    ? $error['message']
                    : 'WordPress ended the run: ' . ($this->output !== '' ? $this->output : 'it said nothing'));
            }
        });
    }

    // The input and the answer.

    public function readWanted(string $json): void
    {
        $wanted = json_decode($json, true);
        if (!is_array($wanted)) {
            throw new StateError('the wanted state on the standard input is no JSON object');
        }
        foreach (array_keys(array_diff_key($wanted, self::KEYS)) as $key) {
            throw new StateError("the wanted state has an unknown key: $key");
        }
        foreach (self::KEYS as $key => $rule) {
            $value = $wanted[$key] ?? $rule[2] ?? null;
            $optional = count($rule) > 2 || ($this->filesOnly && !$rule[1]);
            if ($value === null ? !$optional : get_debug_type($value) !== $rule[0]) {
                throw new StateError("the wanted state needs $key as " . ($rule[0] === 'array' ? 'an object or a list' : 'a text'));
            }
            $this->wanted[$key] = $value;
        }
        $this->root = rtrim($this->wanted['root'], '/');
        if (!preg_match('/^\d+\.\d+/', $this->wanted['version'])) {
            throw new StateError('version must be a WordPress release such as 6.8.3');
        }
        if (!preg_match('/^(sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/', $this->wanted['archive_checksum'])) {
            throw new StateError('archive_checksum must be sha1:, sha256: or sha512: and the hexadecimal digits');
        }
        if ($this->filesOnly) {
            return;
        }
        if (!in_array($this->wanted['update_password'], ['on_create', 'always'], true)) {
            throw new StateError('update_password must be on_create or always');
        }
        $url = parse_url($this->wanted['url']);
        if (!in_array($url['scheme'] ?? '', ['http', 'https'], true) || empty($url['host']) || str_ends_with($this->wanted['url'], '/')) {
            throw new StateError('url must be http(s)://host without a slash at its end, not ' . $this->wanted['url']);
        }
        if (!in_array($this->wanted['timezone'], timezone_identifiers_list(\DateTimeZone::ALL_WITH_BC), true)) {
            throw new StateError('timezone must be an IANA name such as Europe/Berlin, not ' . $this->wanted['timezone']);
        }
        if ($this->wanted['permalinks'] !== '' && !preg_match('#^/.*%[a-z_]+%#', $this->wanted['permalinks'])) {
            throw new StateError('permalinks must be empty or a structure such as /%postname%/, not ' . $this->wanted['permalinks']);
        }
        $this->readUsers();
    }

    private function readUsers(): void
    {
        $names = [];
        $addresses = [];
        foreach ($this->users() as $user) {
            foreach (['name', 'email', 'role', 'password'] as $key) {
                if (!is_string($user[$key] ?? null) || trim($user[$key]) !== $user[$key] || $user[$key] === '') {
                    throw new StateError("each user needs a $key, a text without blanks around it");
                }
            }
            if (isset($names[strtolower($user['name'])])) {
                throw new StateError('two users have the name ' . $user['name']);
            }
            $names[strtolower($user['name'])] = true;
            // Both are the same to the database, whatever the case of their letters.
            if (isset($addresses[strtolower($user['email'])])) {
                throw new StateError('two users have the e-mail address ' . $user['email']);
            }
            $addresses[strtolower($user['email'])] = true;
        }
    }

    /** @return list<array{name: string, email: string, role: string, password: string}> */
    private function users(): array
    {
        return [['role' => 'administrator'] + $this->wanted['admin'], ...array_values($this->wanted['users'])];
    }

    public function finish(): void
    {
        $this->endMaintenance();
        $this->answer([
            'changed' => $this->changes !== [],
            'changes' => $this->changes,
            'notes' => $this->notes,
            'kept' => $this->kept,
            'version' => self::versionIn($this->root),
            'db_version' => $this->filesOnly ? null : $this->databaseVersion(),
        ]);
    }

    /** Answers with the error, and ends. */
    public function fail(string $message): never
    {
        $line = trim((string) preg_replace('/\s+/', ' ', html_entity_decode(strip_tags($message), ENT_QUOTES)));
        if ($this->root !== '') {
            $this->endMaintenance();
        }
        $this->answer(['error' => strlen($line) > 400 ? substr($line, 0, 397) . '...' : $line]);
        exit(1);
    }

    private function answer(array $answer): void
    {
        if (!$this->answered) {
            $this->answered = true;
            $flags = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE;
            fwrite(STDOUT, json_encode($answer, $flags) . "\n");
        }
    }

    // The files.

    public function keepFiles(): void
    {
        if (!is_dir($this->root)) {
            throw new StateError("the root $this->root is no folder");
        }
        if (!$this->check && !is_writable($this->root)) {
            throw new StateError("the root $this->root is not writable for this user");
        }
        $this->takeLock();
        $this->keepCore();
        $this->keepDropIn();
    }

    /** One run at a time, of all the hosts and replicas that share the root. */
    private function takeLock(): void
    {
        $path = $this->root . self::LOCK;
        if (!self::isPlain($path)) {
            if ($this->check) {
                return;
            }
            // What the site's own code may have put there: a link leads elsewhere, and a pipe is never done with.
            @unlink($path);
        }
        $this->lock = fopen($path, $this->check ? 'r' : 'c') ?: throw new StateError("cannot open $path");
        for ($end = time() + self::LOCK_SECONDS; !flock($this->lock, LOCK_EX | LOCK_NB);) {
            if (time() >= $end) {
                throw new StateError("another run has held $path for " . self::LOCK_SECONDS . ' seconds');
            }
            usleep(200000);
        }
    }

    private function keepCore(): void
    {
        $wanted = $this->wanted['version'];
        $installed = self::versionIn($this->root);
        $cut = $this->readNote(self::JOURNAL)['version'] ?? null;
        if ($cut !== null && version_compare($cut, $wanted, '>')) {
            throw new StateError("an update to WordPress $cut was cut: set php_fpm_wordpress_version to $cut to finish it ($wanted is older)");
        }
        if ($installed !== null && version_compare($installed, $wanted, '>')) {
            $this->kept = true;
            $this->notes[] = "WordPress $installed stays: php_fpm_wordpress_version is the older $wanted, and its tables can't go back";
            return;
        }
        $marker = $this->readNote(self::MARKER);
        $deployed = $cut === null && $installed === $wanted && ($marker['version'] ?? null) === $wanted
            && ($marker['checksum'] ?? null) === $this->wanted['archive_checksum'];
        if (!$deployed) {
            $this->changes[] = $installed === $wanted ? "core $wanted deployed again" : 'core ' . ($installed ?? 'none') . " -> $wanted";
            $this->coreChanged = true;
        }
        if ($this->check) {
            // On a machine that was not provisioned yet the archive is not there either.
            if (!$deployed && is_file($this->wanted['archive'])) {
                $this->checkArchive();
            }
            return;
        }
        if (!$deployed) {
            $this->checkArchive();
            $release = $this->stage();
            $this->deploy($release, $installed, $marker);
        }
        $this->remove($this->root . self::STAGE);
    }

    private function checkArchive(): void
    {
        $archive = $this->wanted['archive'];
        if (!is_readable($archive)) {
            throw new StateError("the archive $archive is missing");
        }
        [$algorithm, $digest] = explode(':', $this->wanted['archive_checksum']);
        $got = hash_file($algorithm, $archive);
        if ($got !== $digest) {
            throw new StateError("the archive $archive has the $algorithm checksum $got, not the wanted $digest");
        }
    }

    /** Unpacks the archive beside the site, and returns the folder of the release. */
    private function stage(): string
    {
        $new = $this->root . self::STAGE . '/new';
        $this->remove($this->root . self::STAGE);
        mkdir($new, 0750, true);
        $this->unpack($this->wanted['archive'], $new);
        $release = "$new/wordpress";
        $version = self::versionIn($release);
        if ($version !== $this->wanted['version']) {
            throw new StateError("the archive holds WordPress " . ($version ?? '(none)') . ', not ' . $this->wanted['version']);
        }
        foreach (['wp-admin', 'wp-includes', 'wp-content'] as $folder) {
            if (!is_dir("$release/$folder")) {
                throw new StateError("the archive has no folder wordpress/$folder");
            }
        }
        return $release;
    }

    /** With the program: ten times as quick as PharData, and both GNU's and busybox's know these options. */
    private function unpack(string $archive, string $folder): void
    {
        // "-o": the files are ours, whoever packed them.
        $process = proc_open(['tar', '-xzof', $archive, '-C', $folder], [['file', '/dev/null', 'r'], ['file', '/dev/null', 'w'], ['pipe', 'w']], $pipes);
        if (!$process) {
            throw new StateError('the program tar could not be started');
        }
        $said = (string) stream_get_contents($pipes[2]);
        fclose($pipes[2]);
        if (proc_close($process) !== 0) {
            throw new StateError("tar could not unpack $archive: $said");
        }
        $this->setModes($folder);
    }

    private function setModes(string $folder): void
    {
        chmod($folder, 0750);
        foreach (self::walk($folder) as $path => $item) {
            if ($item->isLink() || !($item->isDir() || $item->isFile())) {
                throw new StateError('the archive holds something that is no plain file or folder: ' . basename($path));
            }
            chmod($path, $item->isDir() ? 0750 : 0640);
        }
    }

    /**
     * Puts the release in place. Whole folders are renamed, so what the new release has no more is
     * gone too. wp-includes, with version.php in it, comes last, and the marker after it: a cut run
     * is seen by its journal and done again.
     */
    private function deploy(string $release, ?string $installed, array $marker): void
    {
        $this->writeNote(self::JOURNAL, ['version' => $this->wanted['version']]);
        if ($installed !== null) {
            $this->startMaintenance();
        }
        $bundled = $this->addContent("$release/wp-content", $marker['bundled'] ?? []);
        $this->swapFolder($release, 'wp-admin');
        foreach (self::entries($release) as $name) {
            // A configuration is never part of a release, and never replaced.
            if (is_file("$release/$name") && $name !== 'wp-config.php') {
                rename("$release/$name", "$this->root/$name");
            }
        }
        $this->swapFolder($release, 'wp-includes');
        $this->writeNote(self::MARKER, [
            'version' => $this->wanted['version'],
            'checksum' => $this->wanted['archive_checksum'],
            'bundled' => $bundled,
        ] + $marker);
        unlink($this->root . self::JOURNAL);
    }

    private function swapFolder(string $release, string $name): void
    {
        $old = $this->root . self::STAGE . '/old';
        is_dir($old) || mkdir($old, 0750);
        if (file_exists("$this->root/$name")) {
            rename("$this->root/$name", "$old/$name");
        }
        rename("$release/$name", "$this->root/$name");
    }

    /**
     * Adds the themes, plugins and files of wp-content that are missing; touches none that is there.
     *
     * @param list<string> $before What the release before this one had: if it is missing, its owner removed it.
     * @return list<string> What this release has.
     */
    private function addContent(string $from, array $before): array
    {
        $content = "$this->root/wp-content";
        is_dir($content) || mkdir($content, 0750);
        $bundled = [];
        foreach (self::entries($from) as $entry) {
            $items = [$entry];
            if (is_dir("$from/$entry")) {
                is_dir("$content/$entry") || mkdir("$content/$entry", 0750);
                $items = array_map(fn ($name) => "$entry/$name", self::entries("$from/$entry"));
            }
            foreach ($items as $item) {
                $bundled[] = $item;
                if (!file_exists("$content/$item") && !in_array($item, $before, true)) {
                    rename("$from/$item", "$content/$item");
                }
            }
        }
        return $bundled;
    }

    /** WordPress's own way to answer 503 during an update; it ends by itself after ten minutes. */
    private function startMaintenance(): void
    {
        $this->replaceFile("$this->root/.maintenance", '<?php ' . self::MAINTENANCE_HEADER . ' $upgrading = ' . time() . ';');
    }

    private function endMaintenance(): void
    {
        $path = "$this->root/.maintenance";
        if (!$this->check && is_file($path) && str_contains((string) file_get_contents($path), self::MAINTENANCE_HEADER)) {
            unlink($path);
        }
    }

    private function keepDropIn(): void
    {
        $path = "$this->root/wp-content/object-cache.php";
        $source = $this->wanted['object_cache'];
        $wanted = $source === null ? null : @file_get_contents($source);
        $there = is_file($path) ? (string) file_get_contents($path) : null;
        if ($wanted === false) {
            if (!$this->check) {
                throw new StateError("the object cache $source is missing");
            }
            $wanted = $there; // Not provisioned yet: nothing to compare with.
            $there === null && $this->changes[] = 'object cache installed';
        }
        if ($there !== null && !str_contains(substr($there, 0, 1000), self::DROP_IN_HEADER)) {
            if ($wanted !== null) {
                $this->notes[] = 'wp-content/object-cache.php is somebody else\'s and stays';
            }
            return;
        }
        if ($wanted === $there) {
            return;
        }
        $this->changes[] = 'object cache ' . ($wanted === null ? 'removed' : ($there === null ? 'installed' : 'updated'));
        if ($this->check) {
            return;
        }
        if ($wanted === null) {
            unlink($path);
        } else {
            $this->replaceFile($path, $wanted);
        }
        // While it was not there, nobody told Redis of changes.
        $this->dropInChanged = true;
    }

    // WordPress.

    /** Whether there is something to load; in a check of a new site there is not. */
    public function canLoad(): bool
    {
        if ($this->filesOnly) {
            return false;
        }
        $config = $this->wanted['config'];
        if (!in_array($config, ["$this->root/wp-config.php", dirname($this->root) . '/wp-config.php'], true)) {
            throw new StateError("WordPress finds its configuration in the root or one folder above it, not at $config");
        }
        if (self::versionIn($this->root) !== null && is_readable($config)) {
            return true;
        }
        if (!$this->check) {
            throw new StateError("the configuration $config is missing");
        }
        $this->reportInstall();
        return false;
    }

    private function reportInstall(): void
    {
        $this->changes[] = 'database installed';
        foreach (array_slice($this->users(), 1) as $user) {
            $this->changes[] = 'user ' . $user['name'] . ' created';
        }
    }

    /** Makes the surroundings of a request, and the hooks that must be there before WordPress is. */
    public function prepareLoad(): void
    {
        $url = parse_url($this->wanted['url']);
        $https = $url['scheme'] === 'https';
        $_SERVER = [
            'HTTP_HOST' => $url['host'] . (isset($url['port']) ? ':' . $url['port'] : ''),
            'SERVER_NAME' => $url['host'],
            'SERVER_PORT' => (string) ($url['port'] ?? ($https ? 443 : 80)),
            'SERVER_PROTOCOL' => 'HTTP/1.1',
            'REQUEST_METHOD' => 'GET',
            'REQUEST_URI' => ($url['path'] ?? '') . '/',
            'SCRIPT_NAME' => '/index.php',
            'PHP_SELF' => '/index.php',
            'SCRIPT_FILENAME' => "$this->root/index.php",
            'REMOTE_ADDR' => '127.0.0.1',
        ] + ($https ? ['HTTPS' => 'on'] : []) + $_SERVER;

        define('WP_INSTALLING', true);      // No redirect to the installer; no plugin or theme runs here.
        define('WP_DISABLE_FATAL_ERROR_HANDLER', true);
        defined('DISABLE_WP_CRON') || define('DISABLE_WP_CRON', true);

        $die = function ($message): never {
            $text = is_wp_error($message) ? $message->get_error_message() : (string) $message;
            if (preg_match('#<h1>(.*?)</h1>#s', $text, $match)) {
                // A page for visitors; its title says it, and the database tells why.
                $text = $match[1] . (($why = mysqli_connect_error()) ? ": $why" : '');
            }
            throw new StateError($text);
        };
        $this->early('wp_die_handler', fn () => $die);
        $this->early('pre_wp_mail', fn () => true);  // "Sent": nobody gets a mail from a provisioning run.
        $this->early('pre_http_request', fn ($answer) => $this->httpAllowed ? $answer : new \WP_Error('no_http', 'not in a provisioning run'));
        // Half a database must not end the run, installing repairs it. WordPress looks for one so while it loads.
        $this->early('query', fn ($query) => $this->loading && str_starts_with($query, 'DESCRIBE ') ? '' : $query);
        if ($this->check) {
            // Without the drop-in nothing is written to Redis, and the database is only read.
            $this->early('enable_loading_object_cache_dropin', fn () => false);
            $this->early('query', fn ($query) => preg_match('/^\s*(SELECT|SHOW|DESCRIBE|SET)\b/i', $query) ? $query : '');
        }
    }

    /** Adds a filter before add_filter() exists, as WordPress allows. */
    private function early(string $hook, callable $function): void
    {
        $GLOBALS['wp_filter'][$hook][PHP_INT_MAX][] = ['function' => $function, 'accepted_args' => 1];
    }

    public function keepDatabase(): void
    {
        $this->loading = false;
        require_once ABSPATH . 'wp-admin/includes/upgrade.php';
        require_once ABSPATH . 'wp-admin/includes/translation-install.php';
        if (is_multisite()) {
            $this->notes[] = 'multisite: the database, its options and its users are left to the network\'s administrator';
            return;
        }
        $installed = $this->option('siteurl') !== null && !$this->tableExists(self::INSTALLING_TABLE);
        $known = $this->root . self::INSTALLED;
        if (!$installed && file_exists($known)) {
            // Another server, or one that lost its data: an empty site would hide that the old one is elsewhere.
            throw new StateError("the database is empty, and the site had one: read that in, or remove $known to begin anew");
        }
        if (!$installed && $this->check) {
            $this->reportInstall();
            return;
        }
        $this->keepLanguagePack();
        $flush = $this->coreChanged || $this->dropInChanged;
        if (!$installed) {
            $this->install();
            $flush = true;
        } elseif ($this->upgradeSchema()) {
            $flush = true;
        }
        if (!$this->check && !file_exists($known)) {
            $this->replaceFile($known, '');
        }
        // While WordPress is "installing" its options go past the object cache. Not so from here on.
        wp_installing(false);
        if ($flush && !$this->check) {
            wp_cache_flush();
        }
        $this->keepOptions();
        foreach ($this->users() as $user) {
            $this->keepUser($user);
        }
        $this->noteRelease();
    }

    /** Notes a newer release of the same series, with its fixes, where WordPress's own daily look has found one. */
    private function noteRelease(): void
    {
        $series = static fn (string $version): string => implode('.', array_slice(explode('.', $version), 0, 2));
        $here = (string) self::versionIn($this->root);
        $newest = $here;
        foreach ((array) (get_site_transient('update_core')->updates ?? []) as $update) {
            $found = (string) ($update->current ?? '');
            if ($series($found) === $series($here) && version_compare($found, $newest, '>')) {
                $newest = $found;
            }
        }
        if ($newest !== $here) {
            $this->notes[] = "WordPress $newest mends faults of $here, which php_fpm_wordpress_version asks for";
        }
    }

    /**
     * Makes the tables and their first content. A table marks that this is under way: what a cut run
     * left is then dropped first, for no site was ever served from it.
     */
    private function install(): void
    {
        global $wpdb;
        $mark = $wpdb->prefix . self::INSTALLING_TABLE;
        $tables = array_filter($wpdb->tables(), fn ($table) => $this->tableExists($table, ''));
        if (!$this->tableExists(self::INSTALLING_TABLE)) {
            if ($tables !== []) {
                throw new StateError('the database has WordPress tables (' . reset($tables) . ', ...) but no siteurl option: repair or empty it');
            }
            $this->sql("CREATE TABLE `$mark` (id INT)");
        }
        foreach ($tables as $table) {
            $this->sql("DROP TABLE `$table`");
        }
        wp_cache_flush(); // Redis may still hold an earlier site of this name.

        $language = $this->locale();
        if ($language !== '') {
            load_default_textdomain($language);
            $GLOBALS['wp_locale'] = new \WP_Locale();
        }
        // Else it looks for a structure that works by asking the site, which is not served yet.
        $structure = fn () => $this->wanted['permalinks'] ?: '/';
        add_filter('pre_option_permalink_structure', $structure);
        $admin = $this->users()[0];
        $this->checkUserName($admin['name']);
        wp_install($this->wanted['title'], $admin['name'], $admin['email'], true, '', wp_slash($admin['password']), $language);
        remove_filter('pre_option_permalink_structure', $structure);
        if (!username_exists($admin['name'])) {
            throw new StateError('WordPress could not be installed: ' . ($wpdb->last_error ?: 'its administrator was not created'));
        }
        wp_cache_flush();
        $this->sql("DROP TABLE `$mark`");
        $this->changes[] = 'database installed';
    }

    private function upgradeSchema(): bool
    {
        $have = $this->databaseVersion();
        $want = (int) $GLOBALS['wp_db_version'];
        if ($have > $want) {
            $this->notes[] = "the database schema $have is newer than this WordPress's $want";
        }
        if ($have >= $want) {
            return false;
        }
        $this->changes[] = "database schema $have -> $want";
        if (!$this->check) {
            wp_upgrade();
            if ($this->databaseVersion() !== $want) {
                throw new StateError("the database schema could not be upgraded from $have to $want: " . $GLOBALS['wpdb']->last_error);
            }
        }
        return true;
    }

    private function keepOptions(): void
    {
        // With WP_HOME or WP_SITEURL in the configuration get_option() would not tell the stored value.
        remove_filter('option_home', '_config_wp_home');
        remove_filter('option_siteurl', '_config_wp_siteurl');
        $wanted = [
            'siteurl' => $this->wanted['url'],
            'home' => $this->wanted['url'],
            'blogname' => $this->wanted['title'],
            'timezone_string' => $this->wanted['timezone'],
            'permalink_structure' => $this->wanted['permalinks'],
            'WPLANG' => $this->locale(),
        ];
        foreach (array_keys($wanted) as $name) {
            // A restored dump, say: the site would go on with the values of before.
            if (!$this->check && (string) get_option($name, '') !== (string) $this->option($name)) {
                wp_cache_flush();
                $this->changes[] = 'object cache flushed (it disagreed with the database)';
                break;
            }
        }
        foreach ($wanted as $name => $value) {
            $have = (string) $this->option($name);
            // In a check the language pack may not be there yet, and WordPress would refuse the language.
            $want = $this->check && $name === 'WPLANG' ? $value : (string) sanitize_option($name, $value);
            if ($have === $want) {
                continue;
            }
            $this->changes[] = html_entity_decode("$name '$have' -> '$want'", ENT_QUOTES);
            if ($this->check) {
                continue;
            }
            update_option($name, $value);
            if ((string) $this->option($name) !== $want) {
                throw new StateError("the option $name could not be set to '$want'");
            }
            if ($name === 'permalink_structure') {
                // Made again by the next request, which knows the plugins' rules too; this run loads none.
                delete_option('rewrite_rules');
            }
        }
    }

    /** Looks that the site's language can be used: it is unpacked from the archive given, or fetched by WordPress. */
    private function keepLanguagePack(): void
    {
        $language = $this->locale();
        $archive = $this->wanted['language_archive'];
        if ($language === '') {
            return;
        }
        $available = in_array($language, get_available_languages(), true);
        $checksum = $archive !== null && is_readable($archive) ? hash_file('sha256', $archive) : null;
        $marker = $this->readNote(self::MARKER);
        $known = $marker['language_checksum'] ?? null;
        // An archive that changed has newer texts, after an update of core for instance.
        if ($available && ($archive === null || $checksum === $known)) {
            return;
        }
        $this->changes[] = "language pack $language " . ($available ? 'updated' : 'installed');
        if ($this->check) {
            return;
        }
        if ($archive !== null) {
            if ($checksum === null) {
                throw new StateError("the archive of php_fpm_wordpress_language_packs for $language ($archive) is missing");
            }
            $this->unpackLanguage($archive, $language);
            $this->writeNote(self::MARKER, ['language_checksum' => $checksum] + $marker);
        } else {
            require_once ABSPATH . 'wp-admin/includes/file.php';
            $this->httpAllowed = true;
            wp_can_install_language_pack() && wp_download_language_pack($language);
            $this->httpAllowed = false;
        }
        clearstatcache();
        wp_cache_delete(md5(WP_LANG_DIR . '/'), 'translation_files');
        if (!in_array($language, get_available_languages(), true)) {
            throw new StateError($archive !== null
                ? "the archive of php_fpm_wordpress_language_packs for $language ($archive) holds no $language.mo"
                : "the language pack $language could not be downloaded: give its archive in php_fpm_wordpress_language_packs, or another language");
        }
    }

    /** Takes the files of the language from a .zip or .tar.gz, in whatever folder of it they are. */
    private function unpackLanguage(string $archive, string $language): void
    {
        $stage = $this->root . self::STAGE;
        $this->remove($stage);
        mkdir($stage, 0750);
        if (str_ends_with(strtolower($archive), '.zip')) {
            require_once ABSPATH . 'wp-admin/includes/file.php';
            WP_Filesystem();
            $result = unzip_file($archive, $stage);
            if (is_wp_error($result)) {
                throw new StateError("the archive of php_fpm_wordpress_language_packs for $language ($archive) cannot be unpacked: " . $result->get_error_message());
            }
            $this->setModes($stage);
        } else {
            $this->unpack($archive, $stage);
        }
        foreach (self::walk($stage) as $path => $item) {
            // de_DE.mo, admin-de_DE.l10n.php, de_DE-0123abcd.json, plugins/akismet-de_DE.mo, ...
            if (!$item->isFile() || !preg_match('/(^|-)' . preg_quote($language, '/') . '(-[0-9a-f]{32})?\.(mo|po|json|l10n\.php)$/', basename($path))) {
                continue;
            }
            $kind = basename(dirname($path));
            $folder = WP_LANG_DIR . (in_array($kind, ['plugins', 'themes'], true) ? "/$kind" : '');
            is_dir($folder) || mkdir($folder, 0750, true);
            rename($path, $folder . '/' . basename($path));
        }
        $this->remove($stage);
    }

    /** @param array{name: string, email: string, role: string, password: string} $wanted */
    private function keepUser(array $wanted): void
    {
        $name = $wanted['name'];
        $this->checkUserName($name);
        if (!get_role($wanted['role'])) {
            throw new StateError("user $name: there is no role " . $wanted['role']);
        }
        if (!is_email($wanted['email'])) {
            throw new StateError("user $name: the e-mail address is not valid");
        }
        // WordPress hashes passwords as its login form sends them, with slashes.
        $password = wp_slash($wanted['password']);
        $user = get_user_by('login', $name);
        if (!$user) {
            $this->changes[] = "user $name created";
            $this->check || $this->must("user $name", wp_insert_user([
                'user_login' => wp_slash($name),
                'user_email' => wp_slash($wanted['email']),
                'user_pass' => $password,
                'role' => $wanted['role'],
            ]));
            return;
        }
        if (array_values($user->roles) !== [$wanted['role']]) {
            $this->changes[] = "user $name role " . (implode(', ', $user->roles) ?: 'none') . ' -> ' . $wanted['role'];
            $this->check || $user->set_role($wanted['role']);
        }
        if ($user->user_email !== $wanted['email']) {
            $this->changes[] = "user $name e-mail changed";
            $this->check || $this->must("user $name", wp_update_user(['ID' => $user->ID, 'user_email' => wp_slash($wanted['email'])]));
        }
        if ($this->wanted['update_password'] === 'always' && !wp_check_password($password, $user->user_pass, $user->ID)) {
            $this->changes[] = "user $name password changed";
            $this->check || wp_set_password($password, $user->ID);
        }
    }

    private function checkUserName(string $name): void
    {
        if (sanitize_user($name, true) !== $name || mb_strlen($name) > 60) {
            throw new StateError("user $name: WordPress does not take this name");
        }
    }

    private function must(string $what, mixed $result): void
    {
        if (is_wp_error($result)) {
            throw new StateError("$what: " . $result->get_error_message());
        }
    }

    private function locale(): string
    {
        return $this->wanted['language'] === 'en_US' ? '' : $this->wanted['language'];
    }

    /** An option as the database has it, past the object cache and all filters; null: not there. */
    private function option(string $name): ?string
    {
        global $wpdb;
        $quiet = $wpdb->suppress_errors();
        $value = $wpdb->get_var($wpdb->prepare("SELECT option_value FROM $wpdb->options WHERE option_name = %s", $name));
        $wpdb->suppress_errors($quiet);
        return $value;
    }

    private function databaseVersion(): ?int
    {
        $value = isset($GLOBALS['wpdb']) ? $this->option('db_version') : null;
        return $value === null ? null : (int) $value;
    }

    private function tableExists(string $table, ?string $prefix = null): bool
    {
        global $wpdb;
        $name = ($prefix ?? $wpdb->prefix) . $table;
        return $wpdb->get_var($wpdb->prepare('SHOW TABLES LIKE %s', $wpdb->esc_like($name))) === $name;
    }

    private function sql(string $statement): void
    {
        global $wpdb;
        if ($wpdb->query($statement) === false) {
            throw new StateError("the database refused: $wpdb->last_error");
        }
    }

    // Files, in general.

    /** A file, and neither a link to one nor a pipe. */
    private static function isPlain(string $path): bool
    {
        return is_file($path) && !is_link($path);
    }

    private static function versionIn(string $folder): ?string
    {
        $path = "$folder/wp-includes/version.php";
        $text = is_file($path) ? @file_get_contents($path) : false;
        return $text !== false && preg_match('/^\$wp_version\s*=\s*[\'"]([^\'"]+)/m', $text, $match) ? $match[1] : null;
    }

    /** @return array<string, mixed> */
    private function readNote(string $name): array
    {
        $path = $this->root . $name;
        $note = self::isPlain($path) ? json_decode((string) @file_get_contents($path), true) : null;
        return is_array($note) ? $note : [];
    }

    private function writeNote(string $name, array $note): void
    {
        $this->replaceFile($this->root . $name, json_encode($note, JSON_UNESCAPED_SLASHES) . "\n");
    }

    /** Never half a file, not even for a moment. */
    private function replaceFile(string $path, string $text): void
    {
        $new = dirname($path) . '/.slipway-' . basename($path) . '.new';
        @unlink($new);
        if (file_put_contents($new, $text) !== strlen($text)) {
            throw new StateError("cannot write $new");
        }
        chmod($new, 0640);
        rename($new, $path);
    }

    /** @return list<string> */
    private static function entries(string $folder): array
    {
        return array_values(array_diff(scandir($folder) ?: [], ['.', '..']));
    }

    /** @return iterable<string, \SplFileInfo> Everything below a folder, what is in a folder before it. */
    private static function walk(string $folder): iterable
    {
        $items = new RecursiveDirectoryIterator($folder, FilesystemIterator::SKIP_DOTS);
        // As a list: what walks here also moves and removes.
        return iterator_to_array(new RecursiveIteratorIterator($items, RecursiveIteratorIterator::CHILD_FIRST));
    }

    private function remove(string $folder): void
    {
        if (!is_dir($folder)) {
            return;
        }
        foreach (self::walk($folder) as $path => $item) {
            $item->isDir() && !$item->isLink() ? rmdir($path) : unlink($path);
        }
        rmdir($folder);
    }
}

// WordPress has to be loaded at the top level of a script: its configuration sets global variables.
$slipway = new State(in_array('--check', $argv, true), in_array('--files', $argv, true));
// A file function that fails says so by a warning; here that is an error.
set_error_handler(static function (int $level, string $message): bool {
    if (error_reporting() & $level) {
        throw new StateError($message);
    }
    return true;
}, E_WARNING);
try {
    foreach (array_diff(array_slice($argv, 1), ['--check', '--files']) as $option) {
        throw new StateError("unknown option $option");
    }
    $slipway->readWanted((string) stream_get_contents(STDIN));
    $slipway->keepFiles();
    if ($slipway->canLoad()) {
        restore_error_handler();
        $slipway->prepareLoad();
        require $slipway->root . '/wp-load.php';
        $slipway->keepDatabase();
    }
    $slipway->finish();
} catch (Throwable $error) {
    $slipway->fail($error->getMessage());
}
