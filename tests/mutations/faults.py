"""The faults that are planted, and the check that must catch each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pytest:
    """A test without a target: its file and name, and a part of its parameters' ids where there are many."""

    test: str
    only: str = ""

    def __str__(self) -> str:
        """Return it as the table shows it."""
        return f"{self.test.rpartition('/')[2]}{f' [{self.only}]' if self.only else ''}"


@dataclass(frozen=True)
class Scenario:
    """A scenario of Molecule, and the step of it that must fail."""

    name: str
    step: Literal["converge", "idempotence", "check", "repair", "verify"]

    def __str__(self) -> str:
        """Return it as the table shows it."""
        return f"molecule {self.name}: {self.step}"


@dataclass(frozen=True)
class Fault:
    """One fault: in ``path``, what stands there once (``old``) becomes ``new``. ``old`` empty: the file goes."""

    name: str
    path: str
    old: str
    new: str
    check: Pytest | Scenario


ROLES = "tests/lint/test_roles.py::"
TASKS = "tests/lint/test_tasks.py::"
TEMPLATES = "tests/unit/test_templates.py::"
REDIS = "roles/redis_cache/tasks/native.yml"
# One host is enough to see it on.
COMPOSE = "debian13-systemd-compose"
NATIVE = "debian13-systemd-native and not apart"

FAULTS = (
    Fault(
        "no_log is missing",
        REDIS,
        "    mode: '0640'\n  no_log: true\n",
        "    mode: '0640'\n",
        Pytest(f"{TASKS}test_every_task_that_handles_a_secret_has_no_log"),
    ),
    Fault(
        "a task restarts a service by itself",
        REDIS,
        "- name: native | Write the users\n",
        "- name: native | Restart the server\n  ansible.builtin.service: {name: redis, state: restarted}\n\n"
        "- name: native | Write the users\n",
        Pytest(f"{TASKS}test_state_verbs_stand_in_handlers_alone"),
    ),
    Fault(
        "a default differs from its specification",
        "roles/redis_cache/defaults/main.yml",
        "redis_cache_memory_mb: 96",
        "redis_cache_memory_mb: 69",
        Pytest(f"{ROLES}test_specification_and_defaults_agree", "redis_cache"),
    ),
    Fault(
        "a role has no scenario",
        "molecule/ftp/molecule.yml",
        "",
        "",
        Pytest("tests/lint/test_scenarios.py::test_a_role_has_a_scenario_for_each_provider", "ftp"),
    ),
    Fault(
        "a container has no restart policy",
        "plugins/filter/container_stack.py",
        '    "restart": "unless-stopped",\n',
        "",
        Pytest("tests/unit/test_filter_container_stack.py"),
    ),
    Fault(
        "a changed secret recreates nothing",
        "plugins/filter/container_stack.py",
        "_digest([files, used])",
        "_digest([files])",
        Pytest("tests/unit/test_filter_container_stack.py"),
    ),
    Fault(
        "the object cache drop-in is missing",
        "roles/php_fpm_wordpress/files/object-cache.php",
        "",
        "",
        Pytest("tests/unit/test_object_cache.py"),
    ),
    Fault(
        "a service is not restarted when it dies",
        "roles/service_unit/templates/systemd.dropin.j2",
        "Restart={{ override.restart | default('always') }}\n",
        "Restart=no\n",
        Scenario("redis_cache", "verify"),
    ),
    Fault(
        "a service is not enabled",
        "roles/service_unit/library/service_unit_state.py",
        ' and manager.enabled() != params["enabled"]:',
        " and False:",
        Scenario("service_unit", "verify"),
    ),
    Fault(
        "a task is not idempotent",
        REDIS,
        "- name: native | Write the users\n",
        "- name: native | Note the run\n  ansible.builtin.command: {cmd: touch /run/slipway-noted}\n"
        "  changed_when: true\n\n- name: native | Write the users\n",
        Scenario("redis_cache", "idempotence"),
    ),
    Fault(
        "a socket is at a wrong path",
        "roles/redis_cache/vars/native.yml",
        'readiness: {socket: "{{ redis_cache_socket }}"}',
        'readiness: {socket: "{{ redis_cache_socket }}.wrong", timeout: 5}',
        Scenario("redis_cache", "converge"),
    ),
    Fault(
        "a user of the cache may see all keys",
        "roles/redis_cache/vars/main.yml",
        " -scan -randomkey",
        "",
        Scenario("redis_cache", "verify"),
    ),
    Fault(
        "a handler is missing",
        "roles/nginx_tls/handlers/main.yml",
        "",
        "",
        Scenario("nginx_tls", "converge"),
    ),
    Fault(
        "TLS 1.1 is allowed",
        "roles/nginx_tls/vars/main.yml",
        "protocols: TLSv1.2 TLSv1.3",
        "protocols: TLSv1.1 TLSv1.2 TLSv1.3",
        Pytest("tests/unit/test_promises.py::test_nginx_speaks_no_old_tls", NATIVE),
    ),
    Fault(
        "a template is broken",
        "roles/nginx_tls/templates/nginx.conf.j2",
        "    server_tokens off;\n",
        "    server_tokens off\n",
        Pytest(f"{TEMPLATES}test_the_program_it_is_for_takes_it", f"{NATIVE} and nginx"),
    ),
    Fault(
        "a file with a secret is for all to read",
        "roles/php_fpm_wordpress/tasks/native_site.yml",
        "    mode: '0400'\n",
        "    mode: '0444'\n",
        Pytest(f"{TEMPLATES}test_no_secret_lies_where_others_may_read_it", NATIVE),
    ),
    Fault(
        "a container has no health check",
        "roles/mariadb/tasks/compose.yml",
        "          healthcheck:\n            test: [CMD, mariadb-admin, --silent, ping]\n",
        "",
        Pytest(f"{TEMPLATES}test_the_program_it_is_for_takes_it", f"{COMPOSE} and compose"),
    ),
)
