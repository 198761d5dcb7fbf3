# Slipway: everything a person or a CI job calls. `make help` lists it.
#
# Every target runs through .venv, which tools/make-venv.sh makes from requirements.lock.

.DEFAULT_GOAL := help
.PHONY: help venv up provision down test test-fast lint lock
.SHELLFLAGS := -eu -c

bin := .venv/bin
# ansible-lint and molecule start their siblings by name.
export PATH := $(CURDIR)/$(bin):$(PATH)
# Extra arguments: make provision ARGS='--check --diff', make test ARGS='-k redis'
ARGS ?=
LAB_ARGS ?=
WORKERS ?= 2

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## Make or renew .venv from requirements.lock (only when the lock changed)
	@tools/make-venv.sh

up: venv ## From nothing to a served stack on a disposable target on this machine
	$(bin)/python -m lab up $(LAB_ARGS)
	$(bin)/ansible-playbook site.yml -i inventory $(ARGS)

provision: venv ## Run the playbook alone, against the hosts of inventory/
	$(bin)/ansible-playbook site.yml -i inventory $(ARGS)

down: venv ## Remove the target and all else the lab made on this machine
	$(bin)/python -m lab down $(LAB_ARGS)

test: venv ## Everything that proves it, against the lab (made first if there is none)
	$(bin)/python -m lab status --quiet || $(MAKE) up
	$(bin)/python -m pytest tests --writes $(ARGS)

test-fast: venv ## What needs no target: plugins, templates, specifications
	$(bin)/python -m pytest tests/unit tests/lint -n $(WORKERS) $(ARGS)

lint: venv ## Style, types and Ansible's production profile
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/yamllint --strict .
	$(bin)/shellcheck .ci/run tools/*.sh
	$(bin)/ansible-lint

lock: venv ## Renew requirements.lock from pyproject.toml (needs uv on PATH)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.12 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-config --quiet --upgrade \
	  --custom-compile-command 'make lock' -o requirements.lock
