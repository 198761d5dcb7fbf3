"""The faults that are planted, and the check that must catch each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pytest:
    """A test without a target, by its whole id: file, name and parameters."""

    test: str

    def __str__(self) -> str:
        """Return it as the table shows it."""
        return self.test.rpartition("/")[2]


@dataclass(frozen=True)
class Scenario:
    """A scenario of Molecule, the step of it that must fail, and what that step must say.

    For ``verify`` that is the name of the test that must fail, one of tests/roles; for others a part of the message.
    """

    name: str
    step: Literal["converge", "idempotence", "check", "repair", "verify"]
    says: str

    @property
    def test(self) -> str:
        """Return the id of the test, without its parameters."""
        return f"tests/roles/test_{self.name.removesuffix('_compose')}.py::{self.says}"

    def __str__(self) -> str:
        """Return it as the table shows it."""
        return f"molecule {self.name}: {self.step}: {self.says}"


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
STACK = "tests/unit/test_container_stack.py::"
PROMISES = "tests/unit/test_promises.py::"
TEMPLATES = "tests/unit/test_templates.py::"
REDIS = "roles/redis_cache/tasks/native.yml"
# One host is enough to see it on.
COMPOSE = "debian13-systemd-compose"
NATIVE = "debian13-systemd-native"

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
        "- name: native | Configure users\n",
        "- name: native | Restart the server\n  ansible.builtin.service: {name: redis, state: restarted}\n\n"
        "- name: native | Configure users\n",
        Pytest(f"{TASKS}test_state_verbs_stand_in_handlers_alone"),
    ),
    Fault(
        "a default differs from its specification",
        "roles/redis_cache/defaults/main.yml",
        "redis_cache_memory_mb: 96",
        "redis_cache_memory_mb: 69",
        Pytest(f"{ROLES}test_specification_and_defaults_agree[redis_cache]"),
    ),
    Fault(
        "a role has no scenario",
        "molecule/ftp/molecule.yml",
        "",
        "",
        Pytest("tests/lint/test_scenarios.py::test_a_role_has_a_scenario_for_each_provider[ftp]"),
    ),
    Fault(
        "a container has no restart policy",
        "plugins/module_utils/container_stack.py",
        '    "restart": "unless-stopped",\n',
        "",
        Pytest(f"{STACK}test_every_container_is_locked_down_unless_it_says_otherwise"),
    ),
    Fault(
        "a changed secret recreates nothing",
        "plugins/module_utils/container_stack.py",
        "_digest([name, definition, files, used])",
        "_digest([name, definition, files])",
        Pytest(f"{STACK}test_a_changed_secret_recreates_the_containers_that_read_it"),
    ),
    Fault(
        "the object cache drop-in is not copied to the site",
        "plugins/modules/wordpress_state.py",
        """/object-cache.php" if site["cached"] else None""",
        """/object-cache.php" if site["cached"] and not site else None""",
        Scenario("php_fpm_wordpress", "verify", "test_the_object_cache_is_in_place"),
    ),
    Fault(
        "a service is not restarted when it dies",
        "roles/service_unit/templates/systemd.dropin.j2",
        "Restart=always\n",
        "Restart=no\n",
        Scenario("redis_cache", "verify", "test_it_survives_the_kill_of_its_process"),
    ),
    Fault(
        "a service is not enabled",
        "plugins/module_utils/service_manager.py",
        "    if not manager.enabled():\n",
        "    if False:\n",
        Scenario("service_unit", "verify", "test_it_starts_at_boot"),
    ),
    Fault(
        "a task is not idempotent",
        REDIS,
        "- name: native | Configure users\n",
        "- name: native | Note the run\n  ansible.builtin.command: {cmd: touch /run/slipway-noted}\n"
        "  changed_when: true\n\n- name: native | Configure users\n",
        Scenario("redis_cache", "idempotence", "=> redis_cache : native | Note the run"),
    ),
    Fault(
        "a socket is at a wrong path",
        "roles/redis_cache/vars/native.yml",
        'readiness: {socket: "{{ redis_cache_socket }}"}',
        'readiness: {socket: "{{ redis_cache_socket }}.wrong", timeout: 5}',
        Scenario("redis_cache", "converge", "nothing listens on /var/lib/slipway/cache/cache.sock.wrong"),
    ),
    Fault(
        "a user of the cache may see all keys",
        "roles/redis_cache/vars/main.yml",
        "  - ping\n",
        "  - ping\n  - scan\n  - randomkey\n",
        Scenario("redis_cache", "verify", "test_a_user_sees_no_other_s_keys"),
    ),
    Fault(
        "a handler is missing",
        "roles/nginx_tls/handlers/main.yml",
        """- name: Record the configuration that nginx reads
  listen: nginx configuration
""",
        """- name: Record the configuration that nginx reads
  listen: nobody
""",
        Scenario("nginx_tls", "idempotence", "=> nginx_tls : config | Check the configuration that the server reads"),
    ),
    Fault(
        "TLS 1.1 is allowed",
        "roles/nginx_tls/vars/main.yml",
        "protocols: TLSv1.2 TLSv1.3",
        "protocols: TLSv1.1 TLSv1.2 TLSv1.3",
        Pytest(f"{PROMISES}test_nginx_speaks_no_old_tls[{NATIVE}]"),
    ),
    Fault(
        "a template is broken",
        "roles/nginx_tls/templates/nginx.conf.j2",
        "    server_tokens off;\n",
        "    server_tokens off\n",
        Pytest(f"{TEMPLATES}test_the_program_it_is_for_takes_it[{NATIVE}-nginx]"),
    ),
    Fault(
        "a file with a secret is for all to read",
        "plugins/filter/wordpress.py",
        '"mode": "0400"',
        '"mode": "0444"',
        Pytest(f"{TEMPLATES}test_no_secret_lies_where_others_may_read_it[{NATIVE}]"),
    ),
    Fault(
        "a container has no health check",
        "roles/mariadb/tasks/compose.yml",
        "          healthcheck:\n            test: [CMD, mariadb-admin, --silent, ping]\n",
        "",
        Pytest(f"{TEMPLATES}test_the_program_it_is_for_takes_it[{COMPOSE}-compose]"),
    ),
    Fault(
        "the network of the backend leads out",
        "roles/container_stack/vars/main.yml",
        "  backend:\n    internal: true\n",
        "  backend:\n    internal: false\n",
        Scenario("container_stack_compose", "verify", "test_the_inner_network_leads_nowhere"),
    ),
)
