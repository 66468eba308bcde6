# vigild: `make run` sets everything up and shows detections; `make test` sets everything up and tests.
#
#   make run [SOURCE=/dev/video0|clip.mp4|rtsp://...] [MODEL=model.tflite] [LABELS=labels.txt] [CONFIG=vigild.toml]
#   make test        lint, unit and system tests          make lint | test-unit | test-system
#   make bench [ROWS='latency memory'] [BENCH=--quick]    speed, as ratios to the raw interpreter
#   make help        this text

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# 32-bit Arm has no LiteRT wheel; everything else does.
RUNTIME := $(if $(filter armv6l armv7l armhf,$(shell uname -m)),tflite,litert)

.DEFAULT_GOAL := help
.PHONY: help setup run test lint test-unit test-system bench clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "vigild needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make setup PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing. Install it: sudo apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (numpy, OpenCV, the $(RUNTIME) runtime, test tools): a minute or two the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[daemon,$(RUNTIME),test]'
	@touch $@

run: setup
	@exec $(BIN)/vigild run $(if $(CONFIG),--config '$(CONFIG)') $(if $(SOURCE),--source '$(SOURCE)') \
	  $(if $(MODEL),--model '$(MODEL)') $(if $(LABELS),--labels '$(LABELS)')

lint: setup
	$(BIN)/ruff check daemon tests models
	$(BIN)/ruff format --check daemon tests models
	$(BIN)/mypy

test-unit: setup
	$(BIN)/python -m pytest tests/unit

test-system: setup
	$(BIN)/python -m pytest tests/system

test: lint
	$(BIN)/python -m pytest tests/unit tests/system

bench: setup
	PYTHONPATH=tests $(BIN)/python -m bench $(ROWS) $(BENCH)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
