"""The sites as people use them: in a real browser, headless Chromium.

What a visitor sees afterwards is asked without it. Each test that makes something removes it.
"""

from __future__ import annotations

import base64
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance import browser as browsers
from tests.acceptance.browser import Browser
from tests.acceptance.summary import Site, Summary
from tests.acceptance.web import Client
from tests.acceptance.wordpress import Author

# What Site Health may say, by the names of its tests, and why nothing here can meet it.
ALLOWED = {
    "dotorg_communication": "the target may be in a closed network",
    "background_updates": "in a closed network it doesn't learn of updates; releases are the inventory's to choose",
    "php_version": "the PHP is the distribution's, which mends it; without a network it can't be judged",
    "page_cache": "a page cache is not among what is provided",
    "plugin_version": "plugins belong to the site's owner",
    "theme_version": "themes belong to the site's owner",
}
# Its tests that take time, as its page asks for them.
SLOW_TESTS = (
    *("background-updates", "loopback-requests", "https-status", "dotorg-communication", "authorization-header"),
    "page-cache",
)


@pytest.fixture(scope="module")
def place(summary: Summary) -> Site:
    """Return the site that is visited."""
    found = summary.of_type("wordpress")
    if not found:
        pytest.skip("there is no WordPress site")
    return found[0]


@pytest.fixture(scope="module")
def browser(summary: Summary, place: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser that stays open from test to test."""
    if reason := browsers.why_not():
        pytest.skip(reason)
    made = Browser(summary, place, tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def author(place: Site, authors: Callable[[Site], Author]) -> Author:
    return authors(place)


@pytest.fixture
def inside(browser: Browser, summary: Summary, author: Author) -> Browser:
    """Return the browser, in which the administrator is logged in."""
    browser.open("/wp-admin/profile.php")
    if "wp-login.php" in browser.driver.current_url:
        log_in(browser, summary, author)
    return browser


def log_in(browser: Browser, summary: Summary, author: Author) -> None:
    password = summary.secret(f"{browser.site.name}_wordpress_{author.user}")
    assert password, f"no password of {author.user}"
    browser.open("/wp-login.php")
    for selector, text in (("#user_login", author.user), ("#user_pass", password)):
        field = browser.one(selector)
        field.clear()
        field.send_keys(text)
    browser.click("#wp-submit")
    browser.one("#wpadminbar")


def visitor(browser: Browser, summary: Summary) -> Client:
    return Client(browser.site, summary.ca_certificate)


def test_the_front_page_is_shown(browser: Browser) -> None:
    """With its styles and scripts, and nothing in the browser's console against it."""
    browser.open("/")
    assert browser.driver.title
    assert browser.one("body").text.strip()
    assert browser.run("return document.styleSheets.length") != 0
    assert browser.errors() == []


@pytest.mark.writes
def test_the_administrator_logs_in(browser: Browser, summary: Summary, author: Author) -> None:
    log_in(browser, summary, author)
    assert browser.driver.current_url.startswith(f"{browser.site.url}/wp-admin/")
    assert browser.errors() == []


@pytest.mark.writes
def test_a_post_is_written_with_the_block_editor(inside: Browser, summary: Summary, author: Author, mark: str) -> None:
    inside.open("/wp-admin/post-new.php")
    inside.wait("the editor is there", lambda: inside.run("return !!wp.data.select('core/editor').getCurrentPostId()"))
    post = inside.run("return wp.data.select('core/editor').getCurrentPostId()")
    try:
        inside.run("wp.data.dispatch('core/preferences').set('core/edit-post', 'welcomeGuide', false)")
        # The theme decides whether the text has a page of its own.
        inside.wait(
            "the canvas is there",
            lambda: inside.all("iframe[name=editor-canvas]") or inside.all(".wp-block-post-title"),
        )
        if frames := inside.all("iframe[name=editor-canvas]"):
            inside.driver.switch_to.frame(frames[0])
        inside.click(".wp-block-post-title")
        inside.one(".wp-block-post-title").send_keys(f"Title {mark}\n")
        inside.one("p.wp-block-paragraph, p.block-editor-rich-text__editable").send_keys(f"Words {mark}")
        inside.driver.switch_to.default_content()
        inside.click(".editor-post-publish-panel__toggle")
        inside.click(".editor-post-publish-button")
        inside.wait(
            "the post is published", lambda: inside.run("return wp.data.select('core/editor').isCurrentPostPublished()")
        )
        link = str(inside.run("return wp.data.select('core/editor').getPermalink()"))
        page = visitor(inside, summary).get(link.removeprefix(inside.site.url))
        assert page.status == 200
        assert f"Title {mark}" in page.text
        assert f"Words {mark}" in page.text
    finally:
        inside.driver.switch_to.default_content()
        author.api("DELETE", f"/wp/v2/posts/{post}", force="true")
        leave(inside)


def leave(browser: Browser) -> None:
    """Go away from an editor, which asks first where its text isn't saved."""
    from selenium.common.exceptions import NoAlertPresentException, UnexpectedAlertPresentException  # noqa: PLC0415

    with suppress(UnexpectedAlertPresentException):
        browser.driver.get("about:blank")
    with suppress(NoAlertPresentException):
        browser.driver.switch_to.alert.accept()


def picture(path: Path, width: int = 900, height: int = 600) -> Path:
    """Write a picture of so many pixels, large enough for WordPress to make smaller ones of it (PNG, ISO 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + bytes(value for x in range(width) for value in (x % 256, y % 256, 128)) for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.writes
def test_a_picture_goes_into_the_library(
    inside: Browser, summary: Summary, author: Author, mark: str, tmp_path: Path
) -> None:
    path = picture(tmp_path / f"{mark}.png")
    inside.open("/wp-admin/media-new.php")
    inside.wait("the uploader is there", lambda: inside.all("#plupload-upload-ui input[type=file]"))
    inside.all("#plupload-upload-ui input[type=file]")[0].send_keys(str(path))

    def found() -> list[dict[str, object]]:
        return list(author.api("GET", "/wp/v2/media", search=mark))

    try:
        inside.one(".media-item .edit-attachment")
        assert len(found()) == 1
        details = author.api("GET", f"/wp/v2/media/{found()[0]['id']}")["media_details"]
        sizes = {name: size["source_url"] for name, size in details["sizes"].items()}
        assert {"thumbnail", "medium", "full"} <= sizes.keys()
        for name, url in sizes.items():
            answer = visitor(inside, summary).get(str(url).removeprefix(inside.site.url))
            assert answer.status == 200, name
            assert answer.headers["Content-Type"] == "image/png", name
        inside.open("/wp-admin/upload.php?mode=list")
        assert mark in inside.one("#the-list").text
    finally:
        for one in found():
            author.api("DELETE", f"/wp/v2/media/{one['id']}", force="true")


def packed(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.writes
def test_a_plugin_is_installed_from_a_zip(
    inside: Browser, summary: Summary, author: Author, mark: str, tmp_path: Path
) -> None:
    program = (
        f"<?php\n/* Plugin Name: {mark} */\nadd_action('wp_footer', function () {{ echo '<!-- {mark} runs -->'; }});\n"
    )
    path = packed(tmp_path / f"{mark}.zip", {f"{mark}/{mark}.php": program})
    try:
        inside.open("/wp-admin/plugin-install.php?tab=upload")
        inside.one("#pluginzip").send_keys(str(path))
        inside.click("#install-plugin-submit")
        inside.click("a.button-primary[href*='action=activate']")
        inside.one("#the-list")
        assert f"<!-- {mark} runs -->" in visitor(inside, summary).get("/").text
    finally:
        with suppress(AssertionError):
            author.api("POST", f"/wp/v2/plugins/{mark}/{mark}", {"status": "inactive"})
        author.api("DELETE", f"/wp/v2/plugins/{mark}/{mark}")
    assert f"<!-- {mark} runs -->" not in visitor(inside, summary).get("/").text


@pytest.mark.writes
def test_a_theme_is_installed_from_a_zip(
    inside: Browser, summary: Summary, author: Author, mark: str, tmp_path: Path
) -> None:
    files = {
        f"{mark}/style.css": f"/*\nTheme Name: {mark}\n*/\n",
        f"{mark}/index.php": f"<!DOCTYPE html><title><?php wp_title(); ?></title><?php wp_head(); ?><p>{mark} is shown",
    }
    path = packed(tmp_path / f"{mark}.zip", files)
    before = next(one["stylesheet"] for one in author.api("GET", "/wp/v2/themes", status="active"))
    try:
        inside.open("/wp-admin/theme-install.php?browse=popular")
        inside.click(".upload-view-toggle")
        inside.one("#themezip").send_keys(str(path))
        inside.click("#install-theme-submit")
        inside.click(f"a.activatelink, a[href*='action=activate'][href*='{mark}']")
        inside.one(".theme.active")
        assert f"{mark} is shown" in visitor(inside, summary).get("/").text
    finally:
        inside.open("/wp-admin/themes.php")
        if not inside.all(f".theme.active[data-slug='{before}']"):
            activate = f".theme[data-slug='{before}'] a.activate"
            inside.wait("the theme of before is listed", lambda: inside.all(activate))
            inside.open(str(inside.all(activate)[0].get_property("href")))
            inside.one(f".theme.active[data-slug='{before}']")
        inside.open(f"/wp-admin/themes.php?theme={mark}")
        inside.click(".theme-overlay .delete-theme")
        inside.driver.switch_to.alert.accept()
        inside.wait("the theme is gone", lambda: not inside.all(f".theme[data-slug='{mark}']"))
    assert f"{mark} is shown" not in visitor(inside, summary).get("/").text


def accepted(name: str) -> bool:
    return name.replace("-", "_") in ALLOWED


@pytest.mark.writes
@pytest.mark.parametrize("name", SLOW_TESTS)
def test_site_healths_own_tests_find_nothing(author: Author, name: str) -> None:
    """As its page asks for them: one looks whether PHP gets this very user and password, who are nobody's."""
    headers = {"Authorization": f"Basic {base64.b64encode(b'user:pwd').decode()}"}
    answer = author.ask_as_page(f"/wp-site-health/v1/tests/{name}", headers if name == "authorization-header" else {})
    assert answer["status"] == "good" or accepted(name), (
        f"{answer['status']}: {answer['label']} {answer['description']}"
    )


@pytest.mark.writes
def test_site_health_shows_nothing_that_can_be_met(inside: Browser) -> None:
    """No critical issue, and no recommendation but those that nothing here can meet."""
    inside.open("/wp-admin/site-health.php")

    inside.wait("the tests have ended", lambda: inside.all(".site-health-progress-wrapper:not(.loading)"))
    assert inside.all("#health-check-issues-good .health-check-accordion-trigger")
    found = {}
    for kind in ("critical", "recommended"):
        for one in inside.all(f"#health-check-issues-{kind} .health-check-accordion-trigger"):
            name = str(one.get_attribute("aria-controls")).removeprefix("health-check-accordion-block-")
            text = re.sub(r"\s+", " ", str(one.get_property("textContent"))).strip()
            if not accepted(name):
                found[name] = f"{kind}: {text}"
    assert found == {}


@pytest.mark.writes
def test_the_administrator_logs_out(inside: Browser) -> None:
    inside.one("#wpadminbar")
    inside.open(str(inside.all("#wp-admin-bar-logout a")[0].get_property("href")))
    inside.one("#loginform")
    inside.open("/wp-admin/")
    assert "/wp-login.php" in inside.driver.current_url
