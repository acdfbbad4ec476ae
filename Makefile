# Everything runs from .venv, which `make setup` makes and keeps up to date.
#   PYTHON=python3.12   the interpreter that .venv is made from
#   CPU=1               PyTorch without CUDA, which on Linux is 4 GB less
#   ARGS="-k rpn"       more arguments for `make test` (pytest) or `make demo` (dprd train)
#   JOBS=4              processes that `make test` runs in; 0 is none but its own

VENV := .venv
STAMP := $(VENV)/.stamp
JOBS ?= 2

.PHONY: help setup demo test test-lowest test-newest lint docs check-wheel constraints clean

help:
	@echo 'make setup        .venv with the project, its extras and the developer tools'
	@echo 'make demo         train, evaluate, predict and draw parts on the built-in data'
	@echo 'make test         every test, slow ones too'
	@echo 'make test-lowest  the tests with the lowest versions that pyproject.toml allows (needs uv); test-newest'
	@echo 'make lint         ruff, format and type checks'
	@echo 'make docs         the documentation site, build/site/index.html; a warning is an error'
	@echo 'make check-wheel  build the wheel, install it into a fresh environment, detect with it elsewhere, share models with it'
	@echo 'make constraints  pin the dependencies anew (needs uv; ARGS=--upgrade takes the newest)'
	@echo 'make clean        remove what builds and checks leave behind; runs stay'

setup: $(STAMP)

$(STAMP): constraints.txt pyproject.toml dprd_cli/version.py scripts/setup.sh
	@PYTHON='$(PYTHON)' CPU='$(CPU)' sh scripts/setup.sh $(VENV)
	@touch $@

demo: setup
	@DPRD=$(VENV)/bin/dprd sh scripts/demo.sh $(ARGS)

test: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) $(ARGS)

test-lowest test-newest:
	@PYTHON='$(PYTHON)' sh scripts/test_versions.sh $(@:test-%=%) $(ARGS)

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

docs: setup
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet
	@! grep -rnE '<(script|link|img)[^>]+(src|href)="(https?:)?//' build/site --include='*.html'  # no network
	@echo 'build/site/index.html'

check-wheel: setup
	@sh scripts/check_wheel.sh $(VENV) $(ARGS)

constraints:
	@sh scripts/constraints.sh $(ARGS)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
