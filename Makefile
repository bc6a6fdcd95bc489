# `make demo` and `make test` need Python 3.11 or newer and nothing else; everything goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-lowest check docs clean

demo: .venv/demo
	$(BIN)/lookright demo

test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile  # two workers of one thread each

# The core and the training with the lowest versions that pyproject.toml allows (uv finds them), in a place of their own.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[test]'
	OMP_NUM_THREADS=1 .venv-lowest/bin/pytest tests/test_batch.py tests/attribution tests/classifier tests/methods \
		tests/metrics tests/run_directory tests/training

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation as a site in build/site; a link that leads nowhere ends it.
docs: .venv/docs
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/%: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[$*]' --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv .venv-lowest build runs
