#!/usr/bin/python
"""Module site_answer: asks sites for a page over verified HTTPS, at an address of one's choice."""

from __future__ import annotations

import hashlib
import http.client
import queue
import re
import socket
import ssl
import threading
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: site_answer
short_description: Asks sites for a page over verified HTTPS
description:
  - Connects to an address, names each site's domain in the handshake, and verifies the certificate against an
    authority. So a site can be checked before its name is in the DNS.
  - All sites are asked at the same time, each again until the wanted status comes or the time of all is over. So a run
    takes no longer with many sites than with one.
  - It never fails on what it finds. Whether the address was reached at all, and what is wrong with each site, is
    for the caller to judge.
options:
  address:
    description: Where to connect to.
    type: str
    required: true
  port:
    description: Port of HTTPS.
    type: int
    default: 443
  sites:
    description: The sites, each with its C(name), and its C(names), the first of which is asked for.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the site is called in the answer.
        type: str
        required: true
      names:
        description: The site's host names.
        type: list
        elements: str
        required: true
      local:
        description: >-
          Whether the authority must have signed. Where not, it may have been anybody, and the answer has C(trusted),
          whether the system knows who.
        type: bool
        default: true
  path:
    description: What to ask for.
    type: str
    default: /
  ca:
    description: Certificate of the authority that must have signed, as PEM; the system's authorities if not given.
    type: str
  status:
    description: HTTP statuses that count as an answer.
    type: list
    elements: int
    default: [200]
  timeout:
    description: Seconds until all sites must have answered.
    type: int
    default: 60
  reach_timeout:
    description: Seconds until the address must have answered anything over TLS. After them no site is waited for.
    type: int
    default: 10
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Ask the blog
  site_answer:
    address: 192.0.2.10
    sites:
      - name: blog
        names: [blog.example.test, www.blog.example.test]
    ca: "{{ lookup('ansible.builtin.file', '.slipway/ca/ca.crt') }}"
"""

RETURN = r"""
reached:
  description: Whether anything at the address answered over TLS, be it wrong.
  returned: always
  type: bool
sites:
  description:
    - Each site in the given order, with its C(name) and C(names), and C(problem), an empty text where it answered.
    - One that answered has C(status), C(title), C(fingerprint) (SHA-256 of the certificate, as colon-separated hex
      pairs) and C(not_after) (when the certificate ends, as ISO 8601 in UTC).
  returned: always
  type: list
  elements: dict
"""

_PAUSE = 0.5  # seconds between two tries of a site
_TRY = 10.0  # seconds that one try may wait for the server's next word
_LIMIT = 1 << 20  # bytes read of a page
# What OpenSSL says of a chain whose end it doesn't know: X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT and the three after.
_UNKNOWN_ISSUER = range(18, 22)
_AT_ONCE = 32  # sites that are asked at the same time


def ask(
    address: str,
    port: int,
    domain: str,
    path: str,
    ca: str | None = None,
    wait: float = _TRY,
    *,
    local: bool = True,
) -> dict[str, Any]:
    """Return one answer; raises OSError (TLS and name errors included) or HTTPException without one.

    The authority given must have signed. A certificate that isn't ``local`` may be of any: it is told whether that is
    ``trusted`` here.
    """
    context = ssl.create_default_context(cadata=ca)
    if not local:
        # Beside the authorities of this system, not in their place.
        context.load_default_certs()
    try:
        return {**_answer(address, port, domain, path, context, wait), "trusted": True}
    except ssl.SSLCertVerificationError as error:
        if local or error.verify_code not in _UNKNOWN_ISSUER:
            raise
    # Who issued it is unknown here, which browsers may see otherwise; its names and its time count all the same.
    context.load_verify_locations(cadata=_certificate(address, port, domain, wait))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return {**_answer(address, port, domain, path, context, wait), "trusted": False}


def _certificate(address: str, port: int, domain: str, wait: float) -> bytes:
    """Return the certificate of a site as DER, whoever issued it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, port), timeout=wait) as plain,
        context.wrap_socket(plain, server_hostname=domain) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def _answer(address: str, port: int, domain: str, path: str, context: ssl.SSLContext, wait: float) -> dict[str, Any]:
    with (
        socket.create_connection((address, port), timeout=wait) as plain,
        context.wrap_socket(plain, server_hostname=domain) as secure,
    ):
        der = secure.getpeercert(binary_form=True) or b""
        ends = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
        host = domain if port == 443 else f"{domain}:{port}"  # noqa: PLR2004 - the port of HTTPS
        connection = http.client.HTTPConnection(domain)
        connection.sock = secure
        connection.request("GET", path, headers={"Host": host, "Connection": "close", "User-Agent": "slipway"})
        response = connection.getresponse()
        text = response.read(_LIMIT).decode("utf-8", "replace")
    title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
    digest = hashlib.sha256(der).hexdigest().upper()
    return {
        "status": response.status,
        "title": title.group(1).strip() if title else "",
        "fingerprint": ":".join(digest[i : i + 2] for i in range(0, len(digest), 2)),
        "not_after": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends)),
    }


def _answered(error: BaseException) -> bool:
    """Return whether an error is a server's wrong answer, and not the lack of one."""
    if isinstance(error, ssl.SSLError):
        # A handshake that ends in the middle comes from whatever cut it.
        return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError)


def ask_all(
    where: tuple[str, int],
    sites: list[dict[str, Any]],
    path: str,
    ca: str | None,
    status: list[int],
    timeout: float,
    reach: float,
) -> dict[str, Any]:
    """Return what the module returns, ``where`` being address and port.

    It takes ``timeout`` seconds at most, or ``reach`` where nothing answers.
    """
    began = time.monotonic()
    reached = threading.Event()
    found: list[dict[str, Any]] = [{"problem": "was not asked"} for _ in sites]
    waiting: queue.Queue[int] = queue.Queue()
    for index in range(len(sites)):
        waiting.put(index)

    def left() -> float:
        return began + (timeout if reached.is_set() else reach) - time.monotonic()

    def work() -> None:
        while left() > 0:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                wait = max(0.1, min(_TRY, left()))
                answer = ask(*where, sites[index]["names"][0], path, ca, wait, local=sites[index]["local"])
                reached.set()
                problem = "" if answer["status"] in status else f"answered {answer['status']}, wanted: {status}"
                found[index] = {**answer, "problem": ""} if not problem else {"problem": problem}
            except (OSError, http.client.HTTPException) as error:
                if _answered(error):
                    reached.set()
                problem = f"gave no answer: {error}"
                found[index] = {"problem": problem}
            if problem:
                time.sleep(max(0, min(_PAUSE, left())))
                # Behind those that are still to be asked.
                waiting.put(index)

    # A name server that doesn't answer can't be hurried, so nobody waits for a thread that is late.
    threads = [threading.Thread(target=work, daemon=True) for _ in sites[:_AT_ONCE]]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and left() > -_PAUSE:
        time.sleep(0.05)
    return {
        "reached": reached.is_set(),
        "sites": [
            {"name": site["name"], "names": site["names"], **one} for site, one in zip(sites, found, strict=True)
        ],
    }


def main() -> None:
    """Run the module."""
    site = {
        "name": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "local": {"type": "bool", "default": True},
    }
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "sites": {"type": "list", "elements": "dict", "required": True, "options": site},
            "path": {"type": "str", "default": "/"},
            "ca": {"type": "str"},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "timeout": {"type": "int", "default": 60},
            "reach_timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    found = ask_all(
        (given["address"], given["port"]), given["sites"], given["path"], given["ca"], given["status"],
        given["timeout"], given["reach_timeout"],
    )  # fmt: skip
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
