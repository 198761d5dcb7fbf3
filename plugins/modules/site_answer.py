#!/usr/bin/python
"""Module site_answer: asks a site for a page over verified HTTPS, at an address of one's choice."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import ssl
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: site_answer
short_description: Asks a site for a page over verified HTTPS
description:
  - Connects to an address, names the site's domain in the handshake, and verifies the certificate against an authority.
    So a site can be checked before its name is in the DNS.
  - Asks again until the wanted status comes, or the time is over.
options:
  address:
    description: Where to connect to.
    type: str
    required: true
  port:
    description: Port of HTTPS.
    type: int
    default: 443
  domain:
    description: Host name of the site.
    type: str
    required: true
  path:
    description: What to ask for.
    type: str
    default: /
  ca_file:
    description: Certificate of the authority that must have signed; the system's authorities if not given.
    type: path
  status:
    description: HTTP statuses that count as an answer.
    type: list
    elements: int
    default: [200]
  timeout:
    description: Seconds until the site must have answered.
    type: int
    default: 30
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Ask the blog
  site_answer:
    address: 192.0.2.10
    domain: blog.example.test
    ca_file: .slipway/ca/ca.crt
"""

RETURN = r"""
status:
  description: The HTTP status.
  returned: success
  type: int
title:
  description: Title of the page, or an empty text.
  returned: success
  type: str
fingerprint:
  description: SHA-256 of the certificate, as colon-separated hex pairs.
  returned: success
  type: str
not_after:
  description: When the certificate ends, as ISO 8601 in UTC.
  returned: success
  type: str
"""

_PAUSE = 0.5  # seconds between two tries
_LIMIT = 1 << 20  # bytes read of a page


def ask(address: str, port: int, domain: str, path: str, ca_file: str | None) -> dict[str, object]:
    """Return one answer; raises OSError (TLS and name errors included) or HTTPException without one."""
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection((address, port), timeout=10) as plain,
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


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "domain": {"type": "str", "required": True},
            "path": {"type": "str", "default": "/"},
            "ca_file": {"type": "path"},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    url = f"https://{wanted['domain']}{wanted['path']} at {wanted['address']} port {wanted['port']}"
    end = time.monotonic() + wanted["timeout"]
    while True:
        try:
            answer = ask(wanted["address"], wanted["port"], wanted["domain"], wanted["path"], wanted["ca_file"])
            if answer["status"] in wanted["status"]:
                module.exit_json(changed=False, **answer)
            problem = f"answered {answer['status']}"
        except (OSError, http.client.HTTPException) as error:
            problem = f"gave no answer: {error}"
        if time.monotonic() >= end:
            module.fail_json(msg=f"{url} {problem} within {wanted['timeout']} s; wanted: {wanted['status']}")
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
