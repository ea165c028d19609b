# make lr_grid   a fresh clone to results/lr_grid/report.html
# make test      the whole test suite;  make fast  its fast part
# make check     lint, format and types
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: lr_grid test fast check clean
lr_grid: .venv/installed
	$(RUN) -m study.sweep lr_grid

test: .venv/tested
	$(RUN) -m pytest

fast: .venv/tested
	$(RUN) -m pytest -m "not slow"

check: .venv/tested
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/tested: .venv/installed
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
