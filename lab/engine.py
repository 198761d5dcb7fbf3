"""The Docker Engine the targets run on: one that answers, or one the lab installs and starts."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from lab.base import LABEL, PREFIX, ROOT, ROOT_LABEL, STATE, LabError, install, run, say, succeeds, wait_for

PID_FILE = STATE / "dockerd.pid"
LOG_FILE = STATE / "dockerd.log"
# Seconds a daemon gets for its start, resp. for stopping all its containers.
START_TIMEOUT = 60
STOP_TIMEOUT = 60


def docker(
    *arguments: str | Path,
    stdin: str | bytes | None = None,
    timeout: float = 900,
    check: bool = True,
) -> str:
    """Run the docker client; see :func:`lab.base.run`."""
    return run("docker", *arguments, stdin=stdin, timeout=timeout, check=check)


def answers() -> bool:
    """Tell whether a Docker Engine answers the client."""
    return succeeds("docker", "version", "--format", "{{.Server.Version}}", timeout=20)


def our_pid() -> int | None:
    """Return the process id of the daemon the lab started, if that still runs."""
    try:
        pid = int(PID_FILE.read_text())
        comm = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    return pid if comm == "dockerd" else None


def _has_service_manager() -> bool:
    """Tell whether PID 1 starts services: systemd by its documented mark, OpenRC by its own."""
    return Path("/run/systemd/system").is_dir() or Path("/run/openrc/softlevel").exists()


def _start_by_hand() -> None:
    """Start dockerd as a session of its own, so that it outlives the caller."""
    STATE.mkdir(parents=True, exist_ok=True)
    with LOG_FILE.open("ab") as log:
        process = subprocess.Popen(
            ["dockerd", "--pidfile", str(PID_FILE)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    wait_for("an answer of dockerd", lambda: answers() or process.poll() is not None, START_TIMEOUT)
    if process.poll() is not None:
        lines = LOG_FILE.read_text(errors="replace").strip().splitlines() or ["no message"]
        raise LabError(f"dockerd does not start: {lines[-1]} (log: {LOG_FILE})")


def ensure() -> None:
    """See to it that a Docker Engine answers. Raises :class:`LabError` where that is impossible."""
    if answers():
        return
    if os.environ.get("DOCKER_HOST"):
        raise LabError(f"no Docker Engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}")
    if os.geteuid():
        raise LabError("no Docker Engine answers, and starting one needs root: start it, or run this as root")
    install("docker.io", "iptables", program="dockerd")
    # From Debian 13 on the client is a package of its own.
    install("docker-cli", program="docker")
    if answers():
        return
    if _has_service_manager():
        manager = ["systemctl", "start"] if Path("/run/systemd/system").is_dir() else ["rc-service"]
        run(*manager, "docker", *([] if manager[0] == "systemctl" else ["start"]), check=False)
        wait_for("an answer of Docker after starting its service", answers, START_TIMEOUT)
        return
    say("starting dockerd, as no service manager does")
    _start_by_hand()


def stop() -> None:
    """Stop the daemon if the lab started it and nothing but the lab uses it."""
    pid = our_pid()
    if pid is None:
        return
    everything, ours = (
        set(docker("ps", "-aq", *only).split()) if answers() else set() for only in ([], ["--filter", f"label={LABEL}"])
    )
    if everything - ours:
        say("leaving dockerd running: it has containers that are not the lab's")
        return
    say("stopping dockerd")
    os.kill(pid, signal.SIGTERM)
    wait_for("the end of dockerd", lambda: our_pid() is None, STOP_TIMEOUT)


def refuse_foreign() -> None:
    """Raise :class:`LabError` if another checkout has a lab of the same prefix on this engine."""
    label = f'{{{{.Label "{ROOT_LABEL}"}}}}'
    roots = docker("ps", "--all", "--filter", f"label={LABEL}", "--format", label).splitlines()
    foreign = sorted({root for root in roots if root and root != str(ROOT)})
    if foreign:
        raise LabError(f"the lab of {foreign[0]} has these names: set SLIPWAY_LAB_PREFIX to another word than {PREFIX}")


def cgroup_version() -> int:
    """Return the version (1 or 2) of the control groups the engine uses."""
    return 2 if docker("info", "--format", "{{.CgroupVersion}}") == "2" else 1
