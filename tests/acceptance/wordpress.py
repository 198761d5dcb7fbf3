"""A person who works with a WordPress site: logs in, and uses its REST API."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import secrecy
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Answer, Client

# Seconds until the login limit (10 a minute, see nginx_tls_login_rate) lets one more through.
LOGIN_PATIENCE = 30


@dataclass
class Author:
    """Someone who is logged in, and has an application password for the REST API."""

    client: Client
    user: str
    basic: str = ""
    uuid: str = ""

    def ask(self, method: str, route: str, content: object = None, **query: str) -> Answer:
        """Ask the REST API with the application password; works with any permalinks."""
        return self._send(method, route, content, {"Authorization": f"Basic {self.basic}"}, query)

    def api(self, method: str, route: str, content: object = None, **query: str) -> Any:
        """Return what the REST API answers; raises AssertionError for an error."""
        answer = self.ask(method, route, content, **query)
        assert answer.status in (200, 201), f"{method} {route}: {answer.status} {answer.text[:300]}"
        return answer.json()

    def ask_as_page(self, route: str, headers: dict[str, str]) -> Any:
        """Return what the REST API answers to a page of the administration, which asks by the login's cookies."""
        answer = self._send("GET", route, None, {**self._nonce(), **headers})
        assert answer.status == 200, f"{route}: {answer.status} {answer.text[:300]}"
        return answer.json()

    def upload(self, name: str, kind: str, content: bytes) -> Any:
        """Put a file into the media library; return what the REST API says of it."""
        headers = {
            "Authorization": f"Basic {self.basic}",
            "Content-Type": kind,
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        answer = Client(self.client.site, self.client.ca).request(
            "POST", "/index.php?rest_route=/wp/v2/media", content, headers
        )
        assert answer.status == 201, f"upload of {name}: {answer.status} {answer.text[:300]}"
        return answer.json()

    def _send(
        self, method: str, route: str, content: object, headers: dict[str, str], query: dict[str, str] | None = None
    ) -> Answer:
        path = f"/index.php?rest_route={route}" + "".join(f"&{key}={value}" for key, value in (query or {}).items())
        body = None if content is None else json.dumps(content).encode()
        # Cookies and the application password are two ways in; only one is used at a time.
        client = self.client if "X-WP-Nonce" in headers else Client(self.client.site, self.client.ca)
        return client.request(method, path, body, {"Content-Type": "application/json", **headers})

    def _nonce(self) -> dict[str, str]:
        answer = self.client.get("/wp-admin/admin-ajax.php?action=rest-nonce")
        assert answer.status == 200, f"no nonce for the REST API: {answer.status}"
        return {"X-WP-Nonce": answer.text.strip()}

    def make_password(self) -> None:
        """Make the application password."""
        content = {"name": "slipway acceptance tests"}
        answer = self._send("POST", "/wp/v2/users/me/application-passwords", content, self._nonce())
        assert answer.status == 201, f"no application password: {answer.status} {answer.text[:300]}"
        made = answer.json()
        self.uuid = made["uuid"]
        self.basic = base64.b64encode(f"{self.user}:{made['password']}".encode()).decode()
        secrecy.learn(made["password"], self.basic)

    def drop_password(self) -> None:
        """Remove the application password."""
        answer = self._send("DELETE", f"/wp/v2/users/me/application-passwords/{self.uuid}", None, self._nonce())
        assert answer.status == 200, f"the application password stays: {answer.status}"


def try_login(client: Client, user: str, password: str) -> Answer:
    """Send the login form once; return the answer: 302 to the administration, or 200 with the form again."""
    client.get("/wp-login.php")
    form = {"log": user, "pwd": password, "testcookie": "1", "redirect_to": f"{client.site.url}/wp-admin/"}
    return client.post("/wp-login.php", form)


def log_in(site: Site, ca: Path, user: str, password: str) -> Author:
    """Log in through the form, and make an application password; waits out the login limit."""
    client = Client(site, ca)
    answers: list[Answer] = []

    def let_in() -> bool:
        answers.append(try_login(client, user, password))
        return answers[-1].status != 429

    wait_until(f"the login form of {site.name} takes a form", let_in, LOGIN_PATIENCE, pause=1)
    assert answers[-1].status == 302, f"{user} could not log in to {site.name}: {answers[-1].status}"
    # Who has the cookies is logged in.
    secrecy.learn(*(value for name, value in client.cookies.items() if name.startswith("wordpress_")))
    author = Author(client, user)
    author.make_password()
    return author


def log_in_administrator(site: Site, summary: Summary) -> Author | None:
    """Log in who administers a site, by the password that was made; none if the inventory gave all passwords."""
    prefix = f"{site.name}_wordpress_"
    for name, password in summary.secrets().items():
        if name.startswith(prefix):
            author = log_in(site, summary.ca_certificate, name.removeprefix(prefix), password)
            if author.api("GET", "/wp/v2/users/me", context="edit")["capabilities"].get("manage_options"):
                return author
            author.drop_password()
    return None
