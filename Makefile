# make course: set up, run every chapter, train.   make test: set up, lint, test everything.
# The interpreter that the virtual environment is made from: `make PYTHON=python3.12 course`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Threads that wait give their core away: chapters and their workers share two of them.
export OMP_WAIT_POLICY := PASSIVE
export MPLBACKEND := module://matplotlib_inline.backend_inline

# Debian keeps the part of Python that makes virtual environments in a package of its own.
INSTALL_VENV = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
  then apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; \
  else echo "make: $(PYTHON) cannot make virtual environments; on Debian: sudo apt-get install python3-venv"; exit 1; fi

.PHONY: help install course test lint lab docs docs-serve bench gpu export lock clean pdf sample publishable

help:
	@echo "make install  virtual environment, locked packages, PaperPets"
	@echo "make course   install, execute every chapter, train, report"
	@echo "make test     install, then ruff, every notebook and every test"
	@echo "make lint     ruff over notebooks and Python files"
	@echo "make lab      read and run the chapters in JupyterLab"
	@echo "make docs     the chapters as web pages in _site/"
	@echo "make docs-serve  the pages of _site/ on http://127.0.0.1:8000"
	@echo "make pdf      the course as one PDF, _site/petbreeds.pdf"
	@echo "make publishable  whether settings.ini holds all that publishing needs"
	@echo "make sample   train, and take the run's report as the site's sample"
	@echo "make bench    measure against the budgets, results in bench/results/"
	@echo "make gpu      the cells that need a GPU and the photographs"
	@echo "make export   write petbreeds/ from nbs/ and clean the notebooks"
	@echo "make lock     renew requirements.lock from settings.ini"
	@echo "make clean    remove what make made, the virtual environment included"

$(READY): requirements.lock settings.ini setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "make: Python 3.11 or newer is needed, $(PYTHON) is %d.%d; name another: make PYTHON=python3.11" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(INSTALL_VENV)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[^ ]*' requirements.lock)"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

install: $(READY)
	petbreeds data paper

course: install
	python course.py
	$(MAKE) --no-print-directory docs

# Two workers take a notebook or a file of tests each (conftest.py); each has a core, so each has one thread.
test: install lint
	python docs/chromium.py
	OMP_NUM_THREADS=1 pytest --nbval nbs tests -n 2 -q

# 120 columns in Python files, 100 in notebooks, 88 in chapters.
lint: $(READY)
	ruff check --quiet
	ruff check --quiet --select E501 --line-length 88 nbs/*.ipynb

lab: install
	jupyter lab --ip 127.0.0.1 nbs

docs: $(READY)
	sphinx-build -E -W -q -d build/doctrees -c docs nbs _site
	@echo "the site: _site/index.html, or make docs-serve"

docs-serve: docs
	@echo "http://127.0.0.1:8000"
	python -m http.server 8000 --bind 127.0.0.1 --directory _site

pdf: docs
	python docs/chromium.py
	python docs/pdf.py

publishable:
	python3 docs/publishing.py

sample: install
	petbreeds train --out build/sample --overwrite
	PYTHONPATH=. python docs/landing.py build/sample

bench: install
	python bench/startup.py
	python bench/drawing.py
	python bench/cross_entropy.py
	python bench/training.py
	python bench/features.py
	python bench/fine_tuning.py
	python bench/pages.py
	python bench/table.py

gpu: install
	nbdev_test --n_workers 1 --do_print --flags "cuda oxford slow"

export: $(READY)
	nbdev_export
	nbdev_clean

lock:
	$(BIN)/uv pip compile setup.py --extra dev --extra docs --python-version 3.11 --universal \
	  --upgrade --no-header --annotation-style line --output-file requirements.lock --quiet

clean:
	rm -rf $(VENV) _course _site _screenshots nbs/api nbs/rooms _docs _proc build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
