"""A real browser that visits the sites: headless Chromium, at the target's address and with its certificates."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client, connect
from tests.repository import ROOT

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

# Pictures of the pages on which a test failed.
ARTEFACTS = ROOT / ".slipway" / "artefacts"
PROGRAMS = ("chromium", "chromedriver")
PATIENCE = 60  # seconds for a page and what its scripts do
# No sandbox, because root has none; nothing that calls home; no proxy, as the name leads to the target's address.
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
    *("--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-extensions", "--no-proxy-server", "--window-size=1400,1800", "--lang=en-US"),
)


def why_not() -> str:
    """Return why there is no browser here, or nothing if there is one."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"this machine has no {' and no '.join(missing)}: Debian's are chromium and chromium-driver" * bool(missing)


def _key(site: Site, ca: Path) -> str:
    """Return what names the key of a site's certificate, which was verified, as Chromium wants it."""
    with connect(site, Client(site, ca).context(), site.domain) as secure:
        data = secure.getpeercert(binary_form=True)
    assert data
    key = x509.load_der_x509_certificate(data).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


class Browser:
    """One window, on one site."""

    def __init__(self, summary: Summary, site: Site, folder: Path) -> None:
        """Start it with a profile of its own. It trusts the keys of the site's present certificate."""
        from selenium import webdriver  # noqa: PLC0415 - only where there is a browser

        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which(PROGRAMS[0]))
        for option in OPTIONS:
            options.add_argument(option)
        options.add_argument(f"--user-data-dir={folder}")
        options.add_argument(f"--host-resolver-rules=MAP {site.domain} {site.address}")
        options.add_argument(f"--ignore-certificate-errors-spki-list={_key(site, summary.ca_certificate)}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(executable_path=shutil.which(PROGRAMS[1]), env={**os.environ})
        self.site = site
        self.driver: Chrome = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(PATIENCE)

    def open(self, path: str) -> None:
        """Visit a page of the site.

        Chromium drops what it is about to load when an interface of this machine comes or goes, such as a container's.
        """
        from selenium.common.exceptions import WebDriverException  # noqa: PLC0415 - only where there is a browser

        def opened() -> bool:
            try:
                self.driver.get(path if "://" in path else f"{self.site.url}{path}")
            except WebDriverException as error:
                raise AssertionError(str(error.msg)) from error
            return not self.all("#main-frame-error")

        wait_until(f"{path} is loaded", opened, PATIENCE)

    def all(self, selector: str) -> list[WebElement]:
        """Return what a CSS selector finds."""
        found: list[WebElement] = self.driver.find_elements("css selector", selector)
        return found

    def one(self, selector: str) -> WebElement:
        """Return the first that a CSS selector finds, once it is shown."""
        self.wait(selector, lambda: any(one.is_displayed() for one in self.all(selector)))
        return next(one for one in self.all(selector) if one.is_displayed())

    def click(self, selector: str) -> None:
        """Click on it once that can be done."""
        from selenium.common.exceptions import WebDriverException  # noqa: PLC0415 - see above

        def clicked() -> bool:
            try:
                self.one(selector).click()
            except WebDriverException as error:
                # Something lies over it, or it was made anew meanwhile.
                raise AssertionError(str(error.msg)) from error
            return True

        self.wait(f"a click on {selector}", clicked)

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until the page has come so far."""
        from selenium.common.exceptions import (  # noqa: PLC0415 - see above
            JavascriptException,
            NoSuchElementException,
            StaleElementReferenceException,
        )

        def holds() -> bool:
            try:
                return bool(condition())
            except (JavascriptException, NoSuchElementException, StaleElementReferenceException) as error:
                # A script or an element that isn't there yet.
                raise AssertionError(type(error).__name__) from error

        wait_until(f"{self.driver.current_url}: {what}", holds, PATIENCE)

    def run(self, script: str) -> object:
        """Return what a script of the page returns."""
        return self.driver.execute_script(script)

    def errors(self) -> list[str]:
        """Return what the browser's console holds against the site since it was asked last.

        Pictures of people come from elsewhere, which may be out of reach.
        """
        lines: list[dict[str, object]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        bad = [str(line["message"]) for line in lines if line["level"] == "SEVERE"]
        return [line for line in bad if line.startswith(self.site.url)]

    def keep_picture(self, test: str) -> Path:
        """Keep a picture of the page; return where."""
        ARTEFACTS.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = "".join(character if character.isalnum() else "-" for character in test.rpartition("::")[2])
        path = ARTEFACTS / f"{name.strip('-')}.png"
        path.touch(mode=0o600)
        path.write_bytes(self.driver.get_screenshot_as_png())
        return path

    def close(self) -> None:
        """End it."""
        self.driver.quit()


def picture_of(item: pytest.Item) -> Path | None:
    """Keep a picture of the browser that a test has, if it has one; return where."""
    found = getattr(item, "funcargs", {}).get("browser")
    return found.keep_picture(item.nodeid) if isinstance(found, Browser) else None
