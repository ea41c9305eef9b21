# Everything goes into one virtual environment. `make help` lists the targets; variables are at the top.
#   PYTHON      the Python to make the environment with, 3.11 or newer
#   VENV        where it is
#   ARGS        arguments for `make bench` and `make test`
#   WORKERS     processes that run the tests; 1 runs them one after the other in this one
#   MINUTES     how long `make fuzz`, `make faults`, `make soak` and `make serve-load` may take
#   CMAKE_ARGS  flags for llama.cpp's build, such as -DGGML_CUDA=on

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WORKERS ?= 2
MINUTES ?= 10

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
VENV_PYTHON := $(BIN)/python

# An empty tree to compare with: then `git diff --check` looks at every tracked line.
EMPTY_TREE = $$(git hash-object -t tree /dev/null)

.DEFAULT_GOAL := help
.PHONY: help bench install llama test fuzz faults soak serve-load wheels check format lock clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

bench: install ## Install, fetch the default model and measure (ARGS="TARGET --draft NAME")
	$(BIN)/edgespec bench $(ARGS)

install: $(VENV)/.installed llama ## Make the environment and install edgespec into it

test: $(VENV)/.test-tools llama ## Run the tests (ARGS="tests/cli -k help")
	$(VENV_PYTHON) -m pytest $(if $(filter-out 0 1,$(WORKERS)),--numprocesses $(WORKERS) --dist worksteal) $(ARGS)

fuzz: $(VENV)/.test-tools llama ## Run the commands on damaged model files, in processes that may end (MINUTES=10, ARGS="--command run")
	$(VENV_PYTHON) scripts/fuzz_gguf.py --minutes $(MINUTES) $(ARGS)

faults: $(VENV)/.test-tools llama ## Kill, fill, fail, lie and cut off on purpose (MINUTES=20 ARGS="--only kill/"); Linux
	$(VENV_PYTHON) -m scripts.faults --minutes $(MINUTES) $(ARGS)

soak: $(VENV)/.test-tools llama ## 1,000 turns of chat: memory, handles, threads, start (MINUTES=20)
	$(VENV_PYTHON) -m scripts.soak --minutes $(MINUTES) $(ARGS)

serve-load: $(VENV)/.test-tools llama ## 10,000 requests of a server, a third of them hostile (MINUTES=20 ARGS="--requests 20000")
	$(VENV_PYTHON) -m scripts.serve_load --minutes $(MINUTES) $(ARGS)

wheels: $(VENV)/.wheel-tools ## Build wheels that need no compiler where they are installed (a quarter of an hour)
	$(VENV_PYTHON) scripts/build_wheels.py dist $(ARGS)

check: $(VENV)/.dev-tools llama ## Lint, format, types, import floors, white space
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(BIN)/lint-imports
	git diff --check $(EMPTY_TREE)

format: $(VENV)/.dev-tools ## Format the code and mend what ruff can mend
	$(VENV_PYTHON) -m ruff format .
	$(VENV_PYTHON) -m ruff check --fix .

lock: $(VENV)/.dev-tools ## Take the newest versions that pyproject.toml allows and write them to constraints.txt
	$(VENV_PYTHON) -m pip install --quiet --upgrade --upgrade-strategy eager --editable . --group dev \
	  "llama-cpp-python==$$($(VENV_PYTHON) scripts/install_llama.py --print-version)"
	@{ echo "# The versions that are tested; made by 'make lock'. llama-cpp-python's is the lower bound in pyproject.toml."; \
	  $(VENV_PYTHON) -m pip freeze --exclude-editable --exclude llama-cpp-python; } > constraints.txt

clean: ## Remove caches and built packages
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find edgespec quant tui tests scripts -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove the environment and the models of the tests as well
	rm -rf $(VENV) .cache

# The script looks for itself whether there is something to do.
llama: $(VENV)/.ready
	@$(VENV_PYTHON) scripts/install_llama.py

# llama first: otherwise pip would build it with all its defaults.
$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.ready | llama
	$(VENV_PYTHON) -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test-tools: $(VENV)/.installed
	$(VENV_PYTHON) -m pip install --quiet --constraint constraints.txt --group test
	@touch $@

$(VENV)/.dev-tools: $(VENV)/.installed
	$(VENV_PYTHON) -m pip install --quiet --constraint constraints.txt --group dev
	@touch $@

$(VENV)/.wheel-tools: $(VENV)/.ready
	$(VENV_PYTHON) -m pip install --quiet --constraint constraints.txt --group wheels
	@touch $@

$(VENV)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "edgespec: '$(PYTHON)' is not Python 3.11 or newer. Install one or name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 2; }
	@test -e $(VENV)/pyvenv.cfg || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "edgespec: '$(PYTHON)' could not make $(VENV). On Debian and Ubuntu: apt install python3-venv" >&2; \
	  exit 1; }
	@$(VENV_PYTHON) -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@
