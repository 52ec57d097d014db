# make demo | test | test-slow | test-torch | test-newest | test-readme | test-arm64 | lint | lock |
# bench: each sets up what it needs first, in .venv, with the versions in constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
LOCK := constraints.txt
HOLD := -c $(LOCK) --build-constraint $(LOCK)
BIN := $(VENV)/bin
DEMO := demo
NETWORK ?= shufflenet
RELEASE ?= bookworm,bullseye

.PHONY: demo test test-slow test-torch test-newest test-readme test-arm64 lint lock bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.done
	mkdir -p $(DEMO)
	$(BIN)/qsdnn example $(NETWORK) -o $(DEMO)/$(NETWORK).onnx --force
	$(BIN)/qsdnn search $(DEMO)/$(NETWORK).onnx --budget 60s --store $(DEMO)/qsdnn.db \
		--logdir $(DEMO)/events -o $(DEMO)/plan.json
	$(BIN)/qsdnn replay $(DEMO)/plan.json
	$(BIN)/qsdnn package $(DEMO)/plan.json -o $(DEMO)/package.zip
	$(BIN)/python $(DEMO)/package.zip

test: $(VENV)/test.done
	$(BIN)/python -m pytest -n 2 -q -m "not slow"

# Whole searches, boards behind a real sshd, what memory and sanitizers show: a quarter of an hour.
test-slow: $(VENV)/test.done
	@PATH="$$PATH:/usr/sbin" command -v sshd >/dev/null || .ci/debian openssh-server || true
	@command -v qemu-aarch64 >/dev/null || .ci/debian qemu-user || true
	@{ command -v arm-none-eabi-gcc && command -v qemu-system-arm; } >/dev/null || \
		.ci/debian gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm || true
	$(BIN)/python -m pytest -n 2 -q -m slow

# The engine torch, with a PyTorch of its own version, which `make test` does not set up: a minute
# besides the download.
test-torch: $(VENV)/torch.done
	$(BIN)/python -m pytest -q -k torch tests/unit tests/conformance/test_layers.py
	$(BIN)/python -m pytest -q tests/conformance/test_differential.py -m "not slow"

# The README's commands as printed: some minutes, for they search.
test-readme: $(VENV)/test.done
	QSDNN_README=1 $(BIN)/python -m pytest -v -rP tests/integration/readme

# Before each `make lock`: tells whether what was released since still works.
test-newest:
	rm -rf .venv-newest
	$(MAKE) test test-slow VENV=.venv-newest HOLD=

# On emulated boards with these releases of Debian, as root: a quarter of an hour each, and as long
# again the first time, for their roots.
test-arm64: $(VENV)/test.done
	QSDNN_ARM64=$(RELEASE) $(BIN)/python -m pytest -v -rP tests/integration/arm64

lint: $(VENV)/lint.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock:
	$(PYTHON) .ci/lock

bench: $(VENV)/demo.done
	$(BIN)/python experiments/main_job.py

clean:
	rm -rf $(VENV) .venv-newest .venv-torch $(DEMO) dist build

# Debian packs venv apart from Python.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "qsdnn needs Python 3.11 or newer; say which: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || .ci/debian python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade $(if $(HOLD),-c $(LOCK)) pip

$(VENV)/demo.done: pyproject.toml $(LOCK) | $(BIN)/python
	$(BIN)/python -m pip install -q $(HOLD) -e '.[all]'
	touch $@

$(VENV)/test.done: pyproject.toml $(VENV)/demo.done
	$(BIN)/python -m pip install -q $(HOLD) --group test
	touch $@

$(VENV)/torch.done: pyproject.toml $(VENV)/test.done
	$(BIN)/python -m pip install -q $(HOLD) --group torch
	touch $@

$(VENV)/lint.done: pyproject.toml $(VENV)/test.done
	$(BIN)/python -m pip install -q $(HOLD) --group lint
	touch $@
