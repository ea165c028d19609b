# make lr_grid   a fresh clone to results/lr_grid/report.html
# make paper     ... and the paper's figures, tables and verdicts in results/paper/report.html;
#                SETTINGS=seeds=2 is given to every sweep
# make atlas     every method on every miniature, hours: results/atlas/index.html
# make test      the whole test suite;  make fast  its fast part
# make test-slurm  sweeps and faults on a real Slurm cluster that it starts on this machine (root, Debian)
# make check     lint, format and types
# make docs      the documentation as a site: build/site/index.html
# make references  the studies behind README and docs anew, hours: results/reference, and what follows from them
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: lr_grid paper atlas test fast test-slurm check docs references clean
lr_grid: .venv/installed
	$(RUN) -m study.sweep lr_grid

paper: .venv/installed
	for name in lr_grid perturbation hyperspherical blocks_lr mechanism; do \
		$(RUN) -m study.sweep $$name $(SETTINGS) || exit; done
	$(RUN) -m analysis.paper

atlas: .venv/installed
	$(RUN) -m study.atlas

# Three processes on two cores: one of them mostly waits for a command that it has started.
test: .venv/tested
	$(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

fast: .venv/tested
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow"

test-slurm: .venv/tested
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v slurmdbd >/dev/null; then \
		(apt-get update && apt-get install -y --no-install-recommends slurm-wlm munge slurmdbd \
		mariadb-server) >/dev/null 2>&1 || echo "the cluster's packages cannot be installed here"; fi
	$(RUN) -m pytest tests/slurm -rs -s

check: .venv/tested
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy --strict --cache-dir .mypy_cache/strict --follow-imports=silent study/planning study/storage study/launchers study/coordination
	.venv/bin/lint-imports

docs: .venv/tested
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict

references: .venv/tested
	set -e; $(RUN) -m analysis.references commands > build/references.txt; \
		while read -r study; do $(RUN) -m study.sweep $$study < /dev/null; done < build/references.txt
	$(RUN) -m analysis.references keep
	$(RUN) -m analysis.references follow

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[images]'
	touch $@

.venv/tested: .venv/installed
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
