# From a bare clone: `make demo` shows the numbers moving, `make test` tells whether all promises hold.
.PHONY: demo test setup check bench kubernetes docs lock clean

demo: ## one million events through the real servers, audited
	@scripts/setup demo
	@.venv/bin/marquee demo

test: setup ## lint, types, every test on the real servers
	@scripts/test

setup: ## distribution packages, .venv, the servers' jars, Helm; quick when nothing is missing
	@scripts/setup

check: setup ## lint, format, types, imports
	@scripts/check

bench: setup ## all benchmarks; figures go to benchmarks/results/
	@scripts/bench

kubernetes: ## the chart installed in a real Kubernetes with fake nodes, and scaled there; builds it once, which takes Go and minutes
	@scripts/kubernetes

docs: setup ## the generated pages of docs/
	@scripts/docs

lock: setup ## requirements.lock from pyproject.toml
	@scripts/lock

clean: ## what tools and runs left; keeps .venv and the jars
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist var/clusters var/runs var/logs
	@find . -name __pycache__ -not -path './.venv/*' -not -path './var/*' -prune -exec rm -rf {} +
