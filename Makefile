# Slipway: everything a person or a CI job calls. `make help` lists it.
#
# Every target runs through .venv, which tools/make-venv.sh makes from requirements.lock.

.DEFAULT_GOAL := help
.PHONY: help venv up provision plan down lab-env test test-fast test-full verify vm-test molecule mutations lint docs parsers lock bench changelog dist
.SHELLFLAGS := -eu -c

bin := .venv/bin
# ansible-lint and molecule start their siblings by name.
export PATH := $(CURDIR)/$(bin):$(PATH)
# Ansible doesn't look for it in a folder that everybody may write to.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Several times faster than Ansible's own strategy; ANSIBLE_STRATEGY=linear goes back to it.
export ANSIBLE_STRATEGY ?= slipway_fast
# Ansible says at every run that such a strategy is deprecated, which concerns whoever renews requirements.lock alone.
export ANSIBLE_DEPRECATION_WARNINGS ?= False

# What the disposable target is: debian-systemd, debian-openrc, alpine, or a full name such as debian12-systemd.
PLATFORM ?=
# How it is provisioned: compose or native.
PROVIDER ?=
# Whether database and cache are on a second target: make up PROVIDER=native APART=yes.
APART ?=
# Extra arguments: make provision ARGS='--check --diff', make test ARGS='-k cache'.
ARGS ?=
# Extra arguments of the tests of make verify, whose ARGS are those of make provision: make verify PYTEST_ARGS='-k tls'.
PYTEST_ARGS ?=
# The hosts to work on: make verify INVENTORY=~/hosts. Those of make up are called lab: make provision INVENTORY=lab.
INVENTORY ?= inventory
WORKERS ?= 2
# The host whose plan is shown: make plan HOST=vm1; lab is that of make up.
HOST ?=
# The roles to work on: make molecule ROLE=redis_cache.
ROLE ?=

lab_inventory := .slipway/lab/inventory
hosts = $(if $(filter lab,$(INVENTORY)),$(lab_inventory),$(INVENTORY))
lab_args := $(if $(PLATFORM),--platform $(PLATFORM)) $(if $(PROVIDER),--provider $(PROVIDER))
# The groups of either target where there are two.
front := docker_hosts,web,php,ftp,static
back := database,cache

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## Make or renew .venv from requirements.lock (only when the lock changed)
	@tools/make-venv.sh

up: venv ## From nothing to a served stack on a disposable target, or on two [PLATFORM= PROVIDER= APART=]
	$(bin)/python -m lab up $(lab_args) $(if $(APART),--groups $(front))
	$(if $(APART),$(bin)/python -m lab up $(lab_args) --name backend --groups $(back))
	$(bin)/ansible-playbook site.yml -i $(lab_inventory) $(ARGS)

provision: venv ## Run the playbook alone, against the hosts of INVENTORY
	$(bin)/ansible-playbook site.yml -i $(hosts) $(ARGS)

plan: venv ## What each role is told on a host, with secrets masked; changes nothing [HOST=vm1, INVENTORY=, ARGS=]
	$(bin)/ansible-playbook playbooks/show-plan.yml -i $(if $(filter lab,$(HOST)),$(lab_inventory),$(hosts)) --limit "$(or $(HOST),all)" $(ARGS)

down: venv ## Remove the target and all else the lab made on this machine
	$(bin)/python -m lab down

lab-env: venv ## Print SLIPWAY_INVENTORY and SLIPWAY_SUMMARY of the target, for scripts: eval "$$(make -s lab-env)"
	@$(bin)/python -m lab env

test: venv parsers ## Unit tests, lint, and the acceptance suite against the lab's target (made first if there is none)
	$(bin)/python -m lab status --quiet || $(MAKE) up
	$(bin)/python -m pytest tests/unit tests/lint -n $(WORKERS) -m 'not platforms and not full' $(ARGS)
	$(bin)/python -m pytest tests/acceptance --writes -m 'not full' $(ARGS)

test-full: test ## As test, then what takes minutes, the files for every platform, and each role on every platform; hours
	$(bin)/python -m pytest tests/acceptance --writes -m full
	$(bin)/python -m pytest tests/unit -n $(WORKERS) -m 'platforms or full'
	$(MAKE) molecule PLATFORM=all

test-fast: venv ## What needs no target, on one platform of each kind: plugins, templates, specifications
	$(bin)/python -m pytest tests/unit tests/lint -n $(WORKERS) -m 'not platforms and not full' $(ARGS)

# The folder has passwords in it from the playbook's end until the tests have read them.
verify: venv ## Only look: ask the sites of INVENTORY, then the acceptance suite, changing nothing [ARGS= as for provision, PYTEST_ARGS=]
	@umask 077; mkdir -p .slipway; rm -f .slipway/verify.html .slipway/verify.xml; \
	SLIPWAY_VERIFY_DIR=$$(mktemp -d); export SLIPWAY_VERIFY_DIR; \
	trap 'rm -rf "$$SLIPWAY_VERIFY_DIR"' EXIT; trap 'exit 130' INT TERM; \
	$(bin)/ansible-playbook tests/verify.yml -i $(hosts) $(ARGS); \
	$(bin)/python -m pytest tests/acceptance -m 'not lab' --access "$$SLIPWAY_VERIFY_DIR" \
	  --summary "$$(cat "$$SLIPWAY_VERIFY_DIR/summary")" \
	  --html .slipway/verify.html --self-contained-html --junit-xml .slipway/verify.xml $(PYTEST_ARGS)

vm-test: venv ## A real VM under QEMU: provisioned, rebooted, its power cut, then the acceptance suite [PROVIDER=]; slow
	$(bin)/python -m pytest tests/vm $(if $(PROVIDER),--provider $(PROVIDER)) $(ARGS)
	$(bin)/python -m pytest tests/acceptance --writes --summary .slipway/vm/state/summary.json $(ARGS)

molecule: venv ## Every role alone, by Molecule, or those of ROLE, on the platforms of PLATFORM (all, or several) [PROVIDER=]
	$(bin)/python -m tools.scenarios $(if $(ROLE),--role "$(ROLE)") $(if $(PLATFORM),--platform "$(PLATFORM)") \
	  $(if $(PROVIDER),--provider $(PROVIDER)) $(ARGS)

mutations: venv parsers ## Plant faults into copies of the tree, and prove that each is caught
	env -u ANSIBLE_CONFIG $(bin)/python -m tests.mutations $(ARGS)

bench: venv ## What a run that changes nothing costs, on the hosts of INVENTORY, by Ansible's own strategy [ARGS=--repeats 3]
	ANSIBLE_STRATEGY=linear $(bin)/python -m bench.runs --inventory $(hosts) $(ARGS)

lint: venv ## Style, types and Ansible's production profile
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/yamllint --strict .
	$(bin)/shellcheck .ci/run tools/*.sh
	$(bin)/ansible-lint

docs: venv ## Renew the tables in README.md and roles/*/README.md
	$(bin)/python tools/role_readme.py
	$(bin)/python tools/platform_table.py

changelog: venv ## Make a release of the changelog from changelogs/fragments [VERSION=0.2.0]
	$(bin)/python -m tools.changelog $(VERSION)

dist: venv ## The collection, the controller's packages, and their checksums, in dist/
	$(bin)/python -m tools.dist $(ARGS)

parsers: venv ## The programs that the tests of the templates ask, of the releases they are for (two minutes, once)
	$(bin)/python -m tools.parsers

lock: venv ## Renew requirements.lock from pyproject.toml (needs uv on PATH)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.12 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-config --quiet --upgrade \
	  --custom-compile-command 'make lock' -o requirements.lock
