<?php

/*
 * Runs the scheduled tasks of a WordPress site: php wordpress_cron.php WEB-ROOT FOLDER-OF-TEMPORARY-FILES
 *
 * One run at a time, however long a task takes: WordPress's own lock gives up after a minute, and a container goes on
 * with a program after the command that called it was ended. The lock is the kernel's, so it ends with its program.
 *
 * What was left in the folder of temporary files for a day is removed first. PHP removes an upload when the request
 * ends, but a worker that is killed removes nothing.
 */

(static function (string $temporary): void {
    $GLOBALS['slipway_cron_lock'] = $lock = fopen("$temporary/.cron.lock", 'c');
    if ($lock === false) {
        exit(1);
    }
    if (!flock($lock, LOCK_EX | LOCK_NB)) {
        exit(0);
    }
    $before = time() - 86400;
    $entries = new RecursiveIteratorIterator(
        new RecursiveDirectoryIterator($temporary, FilesystemIterator::SKIP_DOTS),
        RecursiveIteratorIterator::CHILD_FIRST,
        RecursiveIteratorIterator::CATCH_GET_CHILD
    );
    // Whether a folder is old is asked before what lies in it goes.
    $old = [];
    foreach ($entries as $path => $entry) {
        if ($path !== "$temporary/.cron.lock" && (@lstat($path)['mtime'] ?? PHP_INT_MAX) < $before) {
            $old[] = $path;
        }
    }
    foreach ($old as $path) {
        // A folder that isn't empty stays. Others may clean as well.
        is_dir($path) && !is_link($path) ? @rmdir($path) : @unlink($path);
    }
})($argv[2]);

require "{$argv[1]}/wp-cron.php";
