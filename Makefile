# Two commands on a fresh machine with Python 3.11+ and git: `make demo` and `make test`.
# Each verb sets up .venv first if that was not done, or if the list of packages has changed.

SHELL := /bin/bash
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_FLAGS := --disable-pip-version-check --no-input --progress-bar off
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg
# Two processes of pytest-xdist; a test module, or a notebook, stays in one of them.
SPREAD := -n 2 --dist loadfile
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test lab app lint format pytest nbs smoke flake test-browser store-nbs links exercises slides bench weights mtcnn clean

help:  ## show these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## make .venv and install everything into it (the other verbs do it when needed)

demo: $(STAMP)  ## train a plain network and SCN side by side on faces with wrong labels (ARGS="--help")
	@$(BIN)/scn demo $(ARGS)

test: lint pytest nbs smoke  ## everything a change has to pass: ruff, pytest, notebooks at two speeds

lab: $(STAMP)  ## open JupyterLab on the notebooks
	@$(BIN)/jupyter-lab nbs $(ARGS)

lint: $(STAMP)  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP)  ## let ruff repair and format what it can
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

pytest: $(STAMP)  ## tests without a browser, and the examples in the docstrings (ARGS="-m 'not slow'")
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) -m "not browser" $(ARGS)

app: $(STAMP)  ## serve the notebooks as an app, code hidden (Voila)
	@$(BIN)/voila nbs $(ARGS)

nbs: $(STAMP)  ## run every notebook and compare with its stored outputs
	@SCN_MODE=class $(BIN)/python -m pytest $(SPREAD) $(NBVAL) nbs/*.ipynb

smoke: $(STAMP)  ## run every notebook with a training of its own, a short one; its checkpoints must hold
	@rm -rf nbs/runs/smoke-default
	@SCN_MODE=smoke $(BIN)/python -m pytest --nbval-lax --nbval-current-env nbs/*.ipynb

flake: $(STAMP)  ## the comparison of the notebooks ten times over (ARGS="nbs/06_alpha_rankings.ipynb")
	@set -e; for i in 1 2 3 4 5 6 7 8 9 10; do echo "== $$i of 10"; \
	  SCN_MODE=class $(BIN)/python -m pytest -q $(NBVAL) $(or $(ARGS),nbs/*.ipynb); done

test-browser: $(STAMP)  ## widgets and notebooks in a real browser; needs the system's Chromium
	@$(BIN)/python -c "import sys; sys.path.insert(0, 'tests'); from chromium import CHROMIUM; \
	sys.exit(None if CHROMIUM else 'There is no Chromium on this machine: install it (apt-get install chromium).')"
	@$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

store-nbs: $(STAMP)  ## run notebooks and store their outputs (ARGS="nbs/00_quickstart.ipynb", or all)
	@$(BIN)/python tools/execute_notebooks.py $(ARGS)

links: $(STAMP)  ## the repository's address (pyproject.toml) into every notebook
	@$(BIN)/python tools/execute_notebooks.py --links
	@$(BIN)/python tools/make_exercises.py

exercises: $(STAMP)  ## student copies and the instructor's page from the notebooks
	@$(BIN)/python tools/make_exercises.py

slides: $(STAMP)  ## the notebooks as slides, in build/slides (shown with a network: reveal.js is fetched)
	@$(BIN)/jupyter nbconvert --log-level WARN --to slides --template-file tools/slides.html.j2 --output-dir build/slides \
	  --SlidesExporter.reveal_width=1280 --SlidesExporter.reveal_height=720 --SlidesExporter.reveal_scroll=True nbs/*.ipynb

bench: $(STAMP)  ## the measurements of benchmarks/, one after the other
	@set -e; for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file $(ARGS); done

weights: $(STAMP)  ## fetch real ImageNet weights (MobileNetV2, 13 MB) for `scn train --pretrained`
	@$(BIN)/python -m scn_fastai.training.weights

mtcnn: $(STAMP)  ## fetch the published weights of MTCNN (2 MB) for `scn align`
	@$(BIN)/python -m scn_fastai.align.weights

clean:  ## remove .venv and what tools left behind (never runs or data)
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python will do if it is 3.11 or newer and can make an environment with pip in it.
# The awk lets only the larger downloads through: a sign of life, not 150 lines.
$(STAMP): pyproject.toml constraints.txt
	@set -e -o pipefail; \
	if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  found=; \
	  for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python); do \
	    if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then found="$$python"; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "This needs Python 3.11 or newer with its venv module: install one, or name it with make PYTHON=/path/to/python3." >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version)."; \
	  "$$found" -m venv --clear $(VENV); \
	  echo "On Linux about 3 GB are fetched and 7 GB lie on disk then: some minutes, once."; \
	fi; \
	echo "Installing the packages of constraints.txt."; \
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[test]" \
	  | awk '/(Downloading|Using cached) .*\(([0-9][0-9]+(\.[0-9]+)? MB|[0-9.]+ GB)\)/ {split($$2, part, "-"); print "  " part[1], part[2], $$(NF-1), $$NF; fflush()} /^Installing/ {print "  unpacking"; fflush()}'; \
	touch $@; \
	echo "Installed into $(VENV)."
