"""A client that visits a site at the target's address, whatever the DNS says, and trusts the local CA."""

from __future__ import annotations

import html
import http.client
import json
import re
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from tests.acceptance.summary import Site, Summary

HTTP_PORT = 80
TIMEOUT = 30  # seconds for one answer


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def title(self) -> str:
        """Return the page's title, or an empty text."""
        found = re.search(r"(?is)<title[^>]*>(.*?)</title>", self.text)
        return html.unescape(found.group(1).strip()) if found else ""

    @property
    def location(self) -> str:
        """Return where it redirects to, or an empty text."""
        return str(self.headers.get("Location", ""))

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Certificate:
    """A certificate: its host names, and from when to when it is valid, in seconds since 1970."""

    names: list[str]
    begins: float
    ends: float


@dataclass
class Client:
    """Visits one site and keeps its cookies. ``name`` is the host name it asks for, by default the site's domain."""

    site: Site
    ca: Path
    name: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take the site's own name unless another was given."""
        self.name = self.name or self.site.domain

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies chain and host name, as a client does that trusts the local CA as well."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_default_certs()
        return context

    def certificate(self) -> Certificate:
        """Return the server's certificate, which was verified."""
        with connect(self.site, self.context(), self.name) as secure:
            return seen(secure)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask once, on a connection of its own; follows no redirect. Raises OSError (TLS errors included)."""
        port = "" if self.site.port == 443 else f":{self.site.port}"
        sent = {"Host": self.name + port, "Connection": "close", "User-Agent": "slipway-acceptance", **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with connect(self.site, self.context(), self.name) as secure:
            connection = http.client.HTTPConnection(self.name)
            connection.sock = secure
            try:
                connection.request(method, path, body, sent)
                answer = connection.getresponse()
                result = Answer(answer.status, answer.headers, answer.read())
            except http.client.HTTPException as error:
                raise ConnectionError(f"{method} {path}: {error!r}") from error
        for line in result.headers.get_all("Set-Cookie") or []:
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        return result

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a page."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a form."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.request("POST", path, urllib.parse.urlencode(form).encode(), sent)


def seen(secure: ssl.SSLSocket) -> Certificate:
    """Return the certificate of a connection that verified it."""
    found: dict[str, Any] = dict(secure.getpeercert() or {})
    return Certificate(
        names=[value for kind, value in found["subjectAltName"] if kind == "DNS"],
        begins=ssl.cert_time_to_seconds(found["notBefore"]),
        ends=ssl.cert_time_to_seconds(found["notAfter"]),
    )


def connect(site: Site, context: ssl.SSLContext, name: str | None) -> ssl.SSLSocket:
    """Return a TLS connection to a site's address that asks for ``name`` (none: no server name is sent)."""
    plain = socket.create_connection((site.address, site.port), timeout=TIMEOUT)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def plain_request(address: str, name: str, path: str) -> Answer:
    """Ask over plain HTTP. Raises OSError, also where the server hangs up without a word."""
    connection = http.client.HTTPConnection(address, HTTP_PORT, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": name, "Connection": "close"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()


def all_served(summary: Summary) -> bool:
    """Tell that every site answers; raises AssertionError that says which doesn't."""
    for site in summary.sites:
        status = Client(site, summary.ca_certificate).get("/").status
        assert status == 200, f"{site.name} is not served: {status}"
    return True
