<?php

/*
 * Keeps the names of a site's users from visitors. wp-config.php has WordPress load it before all plugins.
 *
 * Pages of authors stay: they are content, and themes lead to them.
 */

namespace Slipway\HideUsers;

use WP_Error;
use WP_REST_Users_Controller;

/** What WordPress answers differently for names that it knows and names that it doesn't. */
const TELLING = ['invalid_username', 'invalid_email', 'incorrect_password', 'invalidcombo'];

/** Whether all that an error says would tell who is a user here. */
function tells(mixed $error, string ...$more): bool
{
    return is_wp_error($error) && $error->has_errors()
        && array_diff($error->get_error_codes(), TELLING, $more) === [];
}

function refused(): WP_Error
{
    $text = '<strong>' . esc_html__('Error:') . '</strong> ' . esc_html__('Invalid username, email address or incorrect password.');
    return new WP_Error('incorrect_password', $text);
}

// /?author=1 leads to the page of whoever has that number, and so to the name.
add_action('parse_request', static function ($wp): void {
    if (isset($wp->query_vars['author']) && !is_user_logged_in()) {
        $wp->query_vars = ['error' => '404'];
    }
});

// Nor has anybody one who has written nothing: it would tell that there is such a user.
add_filter('pre_handle_404', static function ($done, $query) {
    if (!$query->is_author() || $query->have_posts() || is_user_logged_in()) {
        return $done;
    }
    $query->set_404();
    status_header(404);
    nocache_headers();
    return true;
}, 10, 2);

// By what answers, and not by the address, which may be written in many ways.
add_filter('rest_request_before_callbacks', static function ($response, $handler) {
    $callback = $handler['callback'] ?? null;
    if (is_array($callback) && $callback[0] instanceof WP_REST_Users_Controller && !is_user_logged_in()
        && $callback[1] !== 'get_current_item') {
        $text = __('Sorry, you are not allowed to list users.');
        return new WP_Error('rest_user_cannot_view', $text, ['status' => rest_authorization_required_code()]);
    }
    return $response;
}, 10, 2);

add_filter('oembed_response_data', static function (array $data): array {
    return ['author_name' => get_bloginfo('name'), 'author_url' => home_url('/')] + $data;
});

add_filter('wp_sitemaps_add_provider', static fn ($provider, $name) => $name === 'users' ? false : $provider, 10, 2);

add_filter('authenticate', static function ($user, $name, $password) {
    if (!tells($user)) {
        return $user;
    }
    if (array_intersect($user->get_error_codes(), ['invalid_username', 'invalid_email']) !== []) {
        // As long as it takes to look at a password that is wrong.
        wp_hash_password((string) $password);
    }
    return refused();
}, 1000, 3);

// Who asks for a new password reads the same, whether there is such a user, and whether the message could be sent.
add_action('lost_password', static function ($errors): void {
    if (tells($errors, 'retrieve_password_email_failure', 'no_password_reset')) {
        if ($errors->get_error_message('retrieve_password_email_failure') !== '') {
            error_log('the message with a new password could not be sent');
        }
        wp_safe_redirect('wp-login.php?checkemail=confirm');
        exit;
    }
});
