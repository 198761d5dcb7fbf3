"""What the rendered files promise, on every platform and with every provider, whoever changes a template or a value."""

from __future__ import annotations

import re

from tests.rendered import Host, Rendered, every_host, every_wordpress_host, every_wordpress_stack_of_systemd


def texts(rendered: Rendered, host: Host, name: str) -> list[str]:
    """Return the contents of the files of this name; there must be one."""
    found = [path.read_text() for path in rendered.root(host).rglob(name)]
    assert found, f"{host.name} gets no {name}"
    return found


@every_host
def test_nginx_speaks_no_old_tls(host: Host, rendered: Rendered) -> None:
    for text in texts(rendered, host, "nginx.conf"):
        protocols = [word for line in re.findall(r"ssl_protocols ([^;]*);", text) for word in line.split()]
        assert protocols
        assert set(protocols) <= {"TLSv1.2", "TLSv1.3"}
        assert "ssl_reject_handshake on;" in text


@every_wordpress_host
def test_ftp_is_encrypted_and_knows_no_anonymous(host: Host, rendered: Rendered) -> None:
    for text in texts(rendered, host, "vsftpd.conf"):
        lines = text.splitlines()
        for line in ("ssl_enable=YES", "anonymous_enable=NO", "force_local_logins_ssl=YES", "force_local_data_ssl=YES"):
            assert line in lines, line
        assert not [line for line in lines if re.fullmatch(r"ssl_(sslv2|sslv3|tlsv1|tlsv11)=YES", line)]


@every_wordpress_host
def test_ftp_passwords_are_checked_in_the_server_and_costly_to_guess(host: Host, rendered: Rendered) -> None:
    """Debian 12's vsftpd hangs when a login runs a program; on Alpine no package has a module that could."""
    native = host.provider == "native"
    (pam,) = texts(rendered, host, "slipway-ftp" if native else "pam")
    assert ("pam_exec.so" in pam) == (native and host.platform.family == "Alpine")
    (accounts,) = texts(rendered, host, "accounts" if native else "ftp_shadow")
    assert re.search(r"^blog:\$6\$rounds=200000\$", accounts, re.MULTILINE)


@every_wordpress_host
def test_wordpress_knows_its_cache_and_edits_no_file(host: Host, rendered: Rendered) -> None:
    for text in texts(rendered, host, "wp-config*.php"):
        assert "'WP_REDIS_PREFIX'" in text
        assert "'DISALLOW_FILE_EDIT' => true" in text
        assert "'DISABLE_WP_CRON' => true" in text


@every_host
def test_images_are_made_by_the_package_manager_of_their_base(host: Host, rendered: Rendered) -> None:
    """One template for both families; nothing of the host's own gets into an image of the other."""
    family = host.base.partition("-")[0] or host.platform.family
    own, other = ("apk add", "apt-get") if family == "Alpine" else ("apt-get install", "apk")
    dockerfiles = texts(rendered, host, "Dockerfile") if host.provider == "compose" else []
    for text in dockerfiles:
        assert own in text
        assert not re.search(rf"\b{other}\b", text)
    mounts = "\n".join(path.read_text() for path in rendered.root(host).rglob("compose.d/mariadb.yml"))
    assert (":/etc/my.cnf.d/" in mounts) == (host.provider == "compose" and family == "Alpine")


@every_host
def test_nobody_listens_for_accounts_that_nobody_has(host: Host, rendered: Rendered) -> None:
    stack = [path.stem for path in rendered.root(host).rglob("compose.d/*.yml")]
    assert {"ftp", "php"} & set(stack) == ({"ftp", "php"} if host.provider == "compose" and not host.files else set())


@every_host
def test_a_host_is_told_of_ipv6_where_it_has_it_alone(host: Host, rendered: Rendered) -> None:
    """A kernel without it refuses the addresses, networks and rules, so nothing that was told of one starts."""
    (nginx,) = (text for text in texts(rendered, host, "nginx.conf") if "ssl_reject_handshake" in text)
    assert ("listen [::]:" in nginx) == (not host.ipv4)
    if host.provider == "compose":
        (daemon,) = texts(rendered, host, "daemon.json")
        assert ('"ip6tables": true' in daemon) == (not host.ipv4)
        (networks,) = texts(rendered, host, "compose.yml")
        assert ("enable_ipv6: true" in networks) == (not host.ipv4)


@every_wordpress_stack_of_systemd
def test_units_that_call_the_engine_have_its_socket_alone(host: Host, rendered: Rendered) -> None:
    for name in ("slipway-stack.service", "slipway-cron-blog.service"):
        (unit,) = (text.splitlines() for text in texts(rendered, host, name))
        assert "CapabilityBoundingSet=" in unit
        assert "RestrictAddressFamilies=AF_UNIX" in unit
