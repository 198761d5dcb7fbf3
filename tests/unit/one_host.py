"""What a summary says of one host with one site, for tests that write one."""

from __future__ import annotations

SSH = {"name": "vm1", "host": "192.0.2.7", "port": 22, "user": "operator", "private_key": "", "known_hosts": ""}
SITE = {
    "name": "blog",
    "type": "wordpress",
    "domain": "blog.example.test",
    "url": "https://blog.example.test",
    "address": "192.0.2.7",
    "port": 443,
    "host": "vm1",
}
