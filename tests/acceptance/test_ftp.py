"""FTPS: what is uploaded is served, nobody gets in without TLS or a password, and nobody gets out of the site."""

from __future__ import annotations

import ftplib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import ftps
from tests.acceptance.ftps import Ftps
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site, Summary
from tests.acceptance.web import Client, seen

# Python warns of the old protocols; that the server refuses them is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")


@pytest.fixture
def password(wordpress_site: Site, summary: Summary) -> str:
    found = summary.secret(f"{wordpress_site.name}_ftp_password")
    if found is None:
        pytest.skip(f"the FTP password of {wordpress_site.name} is not in {summary.secrets_dir}")
    return found


@pytest.fixture
def ftp(wordpress_site: Site, summary: Summary, password: str) -> Iterator[Ftps]:
    """Return a client that is logged in."""
    connection = Ftps(wordpress_site, summary.ca_certificate)
    connection.enter(wordpress_site.name, password)
    yield connection
    connection.close()


def plain(site: Site) -> ftplib.FTP:
    connection = ftplib.FTP(timeout=ftps.TIMEOUT)  # noqa: S321 - that it is refused is what is tested
    connection.connect(site.address, ftps.PORT)
    return connection


def test_plain_ftp_is_refused(wordpress_site: Site, password: str) -> None:
    connection = plain(wordpress_site)
    with pytest.raises(ftplib.error_perm, match=r"^530"):
        connection.login(wordpress_site.name, password)
    connection.close()


@pytest.mark.parametrize("user", ["anonymous", "ftp"])
def test_anonymous_is_refused(wordpress_site: Site, summary: Summary, user: str) -> None:
    connection = plain(wordpress_site)
    with pytest.raises(ftplib.error_perm, match=r"^530"):
        connection.login(user, "guest@example.test")
    connection.close()
    secure = Ftps(wordpress_site, summary.ca_certificate)
    with pytest.raises(ftplib.error_perm, match=r"^530"):
        secure.enter(user, "guest@example.test")
    secure.close()


def test_a_wrong_password_is_refused(wordpress_site: Site, summary: Summary) -> None:
    connection = Ftps(wordpress_site, summary.ca_certificate)
    with pytest.raises(ftplib.error_perm, match=r"^530"):
        connection.enter(wordpress_site.name, "not-the-password")
    connection.close()


def test_system_users_without_a_password_are_refused(summary: Summary) -> None:
    """With one they are as well: the tests of the role make a user for that."""
    for user in {"root", "www-data", summary.ssh.user or "root"}:
        connection = Ftps(summary.of_type("wordpress")[0], summary.ca_certificate)
        with pytest.raises(ftplib.error_perm, match=r"^530"):
            connection.enter(user, "")
        connection.close()


def test_the_certificate_is_the_sites(wordpress_site: Site, ftp: Ftps) -> None:
    sock = ftp.sock
    assert isinstance(sock, ssl.SSLSocket)
    assert wordpress_site.domain in seen(sock).names
    assert sock.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda version: version.name)
def test_old_protocols_are_refused(wordpress_site: Site, summary: Summary, version: ssl.TLSVersion) -> None:
    connection = Ftps(wordpress_site, summary.ca_certificate)
    connection.context.set_ciphers("ALL:@SECLEVEL=0")
    connection.context.minimum_version = version
    connection.context.maximum_version = version
    # An alert comes from the server; what this side refuses by itself is called otherwise. vsftpd 3.0.3 has no setting
    # for TLS 1.1, but no cipher for it either.
    with pytest.raises(ssl.SSLError, match=r"ALERT_(PROTOCOL_VERSION|HANDSHAKE_FAILURE)"):
        connection.auth()
    connection.close()


@pytest.mark.parametrize(
    "offered", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-CAMELLIA128-SHA256"]
)
def test_ciphers_beyond_the_guideline_are_refused(wordpress_site: Site, summary: Summary, offered: str) -> None:
    """Mozilla's guideline, as with HTTPS; each of these needs nothing but the certificate that there is."""
    connection = Ftps(wordpress_site, summary.ca_certificate)
    connection.context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection.context.set_ciphers(f"{offered}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="ALERT_HANDSHAKE_FAILURE"):
        connection.auth()
    connection.close()


def test_the_ciphers_of_the_guideline_are_spoken(wordpress_site: Site, summary: Summary) -> None:
    for offered in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        connection = Ftps(wordpress_site, summary.ca_certificate)
        connection.context.maximum_version = ssl.TLSVersion.TLSv1_2
        connection.context.set_ciphers(offered)
        connection.auth()
        connection.close()


# Five, by the role.
PER_ADDRESS = 5
GREET = "import socket; print(socket.create_connection(('{}', 21), 20).recv(100).decode())"


def test_who_is_silent_keeps_nobody_out(machine: Machine, wordpress_site: Site) -> None:
    """One address gets but a few of all connections."""
    connections: list[socket.socket] = []
    try:
        for _ in range(2 * PER_ADDRESS):
            connections.append(socket.create_connection((wordpress_site.address, ftps.PORT), timeout=ftps.TIMEOUT))
        greetings = [connection.recv(100)[:3] for connection in connections]
        assert 0 < greetings.count(b"220") <= PER_ADDRESS
        assert set(greetings) == {b"220", b"421"}
        # Another address.
        assert machine.run(f'python3 -c "{GREET.format(wordpress_site.address)}"').startswith("220")
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.writes
def test_a_client_with_gnutls_mirrors_there_and_back(
    wordpress_site: Site, summary: Summary, password: str, ftp: Ftps, mark: str, tmp_path: Path
) -> None:
    """It minds how TLS is ended on a data connection."""
    lftp = shutil.which("lftp")
    if lftp is None:
        pytest.skip("there is no lftp on this machine")
    sent = tmp_path / "sent"
    sent.mkdir()
    for number in range(20):
        (sent / f"{number}.txt").write_text(f"{mark} {number}" * 5000)
    commands = [
        f"set ssl:ca-file {summary.ca_certificate}; set ftp:ssl-force true; set ssl:check-hostname false",
        "set cmd:fail-exit true; set net:max-retries 2; set net:timeout 20",
        f"open -u {wordpress_site.name},$LFTP_PASSWORD ftp://{wordpress_site.address}",
        f"mirror -R --parallel=3 {sent} public/{mark}; mirror --parallel=3 public/{mark} {tmp_path / 'back'}; quit",
    ]
    script = tmp_path / "script"
    script.write_text("; ".join(commands).replace("$LFTP_PASSWORD", password))
    script.chmod(0o600)
    try:
        done = subprocess.run([lftp, "-f", str(script)], capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        got = {path.name: path.read_text() for path in (tmp_path / "back").iterdir()}
        assert got == {path.name: path.read_text() for path in sent.iterdir()}
    finally:
        script.unlink()
        for number in range(20):
            ftp.delete(f"/public/{mark}/{number}.txt")
        ftp.rmd(f"/public/{mark}")


def test_data_without_tls_is_refused(ftp: Ftps) -> None:
    ftp.prot_c()
    with pytest.raises(ftplib.error_perm, match=r"^522"):
        ftp.nlst("/")


def test_nobody_leaves_the_site(ftp: Ftps) -> None:
    top = set(ftp.nlst("/"))
    assert {"public", "/public"} & top
    for path in ("..", "/..", "../../..", "/public/../../.."):
        ftp.cwd("/")
        ftp.cwd(path)
        assert ftp.pwd() == "/"
        assert set(ftp.nlst("/")) == top
    for path in ("/etc/passwd", "../../etc/passwd", "/public/../../../../etc/passwd", "/run/secrets"):
        with pytest.raises(ftplib.error_perm, match=r"^550"):
            ftp.fetch(path)


def test_nothing_above_the_web_root_is_the_uploaders(machine: Machine, wordpress_site: Site, ftp: Ftps) -> None:
    """As the server itself lists the folder that it locks the uploader into, and what is in it."""
    lines: list[str] = []
    ftp.retrlines("LIST -a /", lines.append)
    # Mode, links, owner, group, size, three parts of a date, name.
    seen = {fields[8]: fields for fields in (line.split(None, 8) for line in lines)}
    assert {".", "public"} <= seen.keys()
    uploader = machine.run(f"stat -c %u {machine.web_root(wordpress_site)}")
    assert seen.pop("public")[2] == uploader
    for name, fields in seen.items():
        assert fields[2] == "0", f"{name} is not root's: {fields}"
        assert "w" not in fields[0][4:], f"{name} is for others to write to: {fields}"


@pytest.mark.writes
def test_what_the_site_reads_its_secrets_from_is_out_of_reach(ftp: Ftps) -> None:
    """Not only the secrets: the configuration above the web root is not the uploader's either."""
    with pytest.raises(ftplib.error_perm, match=r"^55[03]"):
        ftp.put("/wp-config.php", b"<?php")
    with pytest.raises(ftplib.error_perm, match=r"^55[03]"):
        ftp.put("/new-file", b"")
    with pytest.raises(ftplib.error_perm, match=r"^550"):
        ftp.rename("/public", "/private")


@pytest.mark.writes
def test_an_upload_is_served_at_once(
    machine: Machine, wordpress_site: Site, wordpress_client: Client, ftp: Ftps, mark: str
) -> None:
    name = f"{mark}.txt"
    ftp.put(f"/public/{name}", mark.encode())
    try:
        answer = wordpress_client.get(f"/{name}")
        assert (answer.status, answer.text) == (200, mark)
        path = f"{machine.web_root(wordpress_site)}/{name}"
        # As every other file of the site: its user's, readable for the web server, for nobody else.
        like = machine.run(f"stat -c '%u:%g %a' {machine.web_root(wordpress_site)}/wp-includes/version.php")
        assert machine.run(f"stat -c '%u:%g %a' {path}") == like
        assert like.endswith(" 640")
        assert ftp.fetch(f"/public/{name}") == mark.encode()
    finally:
        ftp.delete(f"/public/{name}")
    assert wordpress_client.get(f"/{name}").status == 404


@pytest.mark.writes
def test_uploaded_folders_are_served_and_removed(wordpress_client: Client, ftp: Ftps, mark: str) -> None:
    ftp.mkd(f"/public/{mark}")
    ftp.put(f"/public/{mark}/index.html", b"<title>in a folder</title>")
    try:
        assert wordpress_client.get(f"/{mark}/index.html").title == "in a folder"
    finally:
        ftp.delete(f"/public/{mark}/index.html")
        ftp.rmd(f"/public/{mark}")


@pytest.mark.writes
def test_uploaded_programs_and_hidden_files_stay_hidden(wordpress_client: Client, ftp: Ftps, mark: str) -> None:
    """Real files, so that it is the rule that hides them; .well-known is the exception."""
    program = f"<?php echo '{mark}-' . 'ran';".encode()
    hidden = {
        f"/public/wp-content/uploads/{mark}.php": program,
        f"/public/wp-content/uploads/{mark}.phtml": program,
        f"/public/.{mark}": mark.encode(),
        f"/public/{mark}.sql": mark.encode(),
    }
    shown = {f"/public/.well-known/{mark}": mark.encode()}
    ftp.mkd("/public/.well-known")
    if "uploads" not in {path.rpartition("/")[2] for path in ftp.nlst("/public/wp-content")}:
        ftp.mkd("/public/wp-content/uploads")
    try:
        for path, content in (hidden | shown).items():
            ftp.put(path, content)
        for path in hidden:
            answer = wordpress_client.get(path.removeprefix("/public"))
            assert answer.status == 404
            assert mark not in answer.text
        for path in shown:
            assert wordpress_client.get(path.removeprefix("/public")).text == mark
    finally:
        for path in hidden | shown:
            try:
                ftp.delete(path)
            except ftplib.error_perm:
                continue
        ftp.rmd("/public/.well-known")


@pytest.mark.writes
def test_an_upload_belongs_to_the_session_of_its_own_user(machine: Machine, wordpress_site: Site, ftp: Ftps) -> None:
    """After the login the server's process has the site's identity, not root's."""
    owner = int(machine.run(f"stat -c %u {machine.web_root(wordpress_site)}"))
    ftp.voidcmd("NOOP")
    assert owner in {process.uid for process in machine.processes() if "vsftpd" in process.names}
