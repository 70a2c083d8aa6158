# The project's commands. `make` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal -q

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check lint docs bench clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*##/\1 /p' Makefile | while read -r name text; do \
		printf '  make %-7s %s\n' "$$name" "$$text"; done
	@echo 'They install what they need into $(VENV); PYTHON=python3.12 picks the Python.'

demo: $(VENV)/.installed-all  ## run the main study: the limit against finite networks on real digits
	@start=$$(date +%s); status=0; $(BIN)/covsde validate || status=$$?; \
	echo "covsde validate took $$(( $$(date +%s) - start )) s"; exit $$status

# Two workers share the machine: a thread each keeps them out of each other's way. Each
# starts on half of the files, whose tests share what was compiled. XLA's older way to emit
# loops compiles in half of the time, and compilation is most of it; as one piece for LLVM
# in a sixth less; and without most optimisations in half as long once more
# (tests/conftest.py says where they are kept). What was compiled is kept, for the other
# worker and for the next time: one that reads what is written half compiles it again.
test check: export XLA_FLAGS := --xla_cpu_multi_thread_eigen=false \
	--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
test check: export JAX_DISABLE_MOST_OPTIMIZATIONS := 1
test check: export OMP_NUM_THREADS := 1
test check: export JAX_COMPILATION_CACHE_DIR := $(CURDIR)/.cache/tests
test check: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0
test: $(VENV)/.installed-all,test  ## run the tests
	@start=$$(date +%s); status=0; $(PYTEST) || status=$$?; \
	echo "the tests took $$(( $$(date +%s) - start )) s"; exit $$status

# Files of tests that take seconds, from every floor; of the pages all but their code.
QUICK := affine bad_input describe docs functionals inputs_observables layout plotting \
	problems statistics steps threads
check: $(VENV)/.installed-all,test  ## run those tests that take seconds
	@$(PYTEST) -k 'not code_runs' $(QUICK:%=tests/test_%.py)

lint: $(VENV)/.installed-all,dev  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

docs: $(VENV)/.installed-docs  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-all  ## run the benchmarks
	@start=$$(date +%s); status=0; $(BIN)/python -m benchmarks || status=$$?; \
	echo "the benchmarks took $$(( $$(date +%s) - start )) s"; exit $$status

clean:  ## remove caches and builds; keep .venv/ and the results in out/
	rm -rf site dist build .cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The project, editable, with the extras that the stamp is named after.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/pip
	@echo 'Installing covsde[$*] into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[$*]'
	@touch '$@'

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)
