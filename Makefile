# vigild: `make run` sets everything up and shows detections; `make test` sets everything up and tests.
#
#   make run [SOURCE=/dev/video0|clip.mp4|rtsp://...] [MODEL=model.tflite] [LABELS=labels.txt] [CONFIG=vigild.toml]
#   make test        lint, unit and system tests, side by side [JOBS=4]     make lint | test-unit | test-system
#   make test-repeat [N=10] [TESTS=tests/unit] [BUSY=1]   many times, with BUSY cores kept busy: what fails, how often
#   make test-container  the service on a board in a container, with a real systemd: as root, with systemd-container
#                    and debootstrap installed; else it skips and says so (VIGILD_SUITE=trixie: on a newer systemd)
#   make test-fleet  ten such boards side by side: canary, waves, and a rule when to stop
#   make test-tflite what depends on the runtime, on tflite-runtime 2.14
#   make bench [ROWS='latency memory'] [BENCH=--quick]    speed, as ratios to the raw interpreter
#   make bench-budget [PLOTS=build/budget]                the governor on simulated boards: table and pictures
#   make forge-setup | models | test-forge                how the embedded models are made (2.3 GB)
#   make forge-setup-tf                                   TensorFlow beside it, for `forge tensorflow` (another 2.3 GB)
#   make fuzz [N=100000]  damaged models, labels, manifests, configurations and lines
#   make test-faults every system call of the hub failing with every error that a kernel has for it: three minutes
#   make chaos [MINUTES=1] [SEED=1]   random faults, and a ledger of every frame and every client
#   make soak [MINUTES=30] [FRAMES=1000000]   memory, descriptors and threads at full speed: what grows, and how surely
#   make bundle TARGET=rpi64-bookworm                     all that a board needs, in one file in dist/
#   make deb [TARGET=...]  a Debian package of it, for those who prefer apt; without TARGET: for this machine
#   make deploy TARGET=... HOST='pi@board [pi@other ...]'  over ssh; the board puts the old release back if this is bad
#   make deploy GROUP=yard                                of cross/hosts.toml, in waves     make fleet-status
#   make deploy-status | deploy-logs | deploy-doctor | rollback | undeploy  HOST=... or GROUP=...
#   sudo make install | uninstall                         the same on this machine          make signing-key
#   make emulate TARGET=...  the bundle installed, and its selftest, on an emulated processor: as root
#   make board [ARCH=aarch64]  a whole emulated board on this terminal: systemd, a camera; on x86_64 heat that can be set
#   make test-board [ARCH=...]  the bundle on such boards: unplugged, heated, short of memory, rebooted
#   make test-board-pages  the commands of the pages "On a Raspberry Pi", "Many boards" ... on an emulated Raspberry Pi
#   make soak-deploy [N=50]                               deploys to a board in a container, which leave nothing behind
#   make cut-deploy [N=20] [SEED=1]                       the power cut at random moments of a deploy to one
#   make cut-deploy EVERY=1  ... after each system call that changes the board's disk: hundreds of starts
#   make man         the manual pages, in build/man
#   make help        this text

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
TFLITE_VENV ?= .venv-tflite

# 32-bit Arm has no LiteRT wheel; everything else does.
RUNTIME := $(if $(filter armv6l armv7l armhf,$(shell uname -m)),tflite,litert)

# Where the environment forbids bytecode, as many containers do, each of hundreds of processes would compile all it needs.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup run test lint collect test-unit test-system test-repeat test-tflite test-container test-fleet test-board test-board-pages test-faults chaos soak \
  forge-setup forge-setup-tf test-forge models bench bench-budget fuzz man clean \
  lock bundle deb deploy rollback deploy-status deploy-logs deploy-doctor undeploy fleet-status install uninstall \
  signing-key emulate board soak-deploy cut-deploy

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.ready

# A virtual environment with the package (editable) and these extras: $(call environment,FOLDER,RUNTIME)
define environment
	@echo "Setting up $(1) (NumPy, OpenCV, the $(2) runtime, test tools): a minute or two the first time"
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[daemon,$(2),test,cross]'
	@touch $@
endef

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "vigild needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make setup PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing. Install it: sudo apt-get install python3-venv"; exit 1; }
	$(call environment,$(VENV),$(RUNTIME))

# The other runtime: 2.14 is its last release, and 3.11 the last Python it has a wheel for.
$(TFLITE_VENV)/.ready: pyproject.toml
	$(call environment,$(TFLITE_VENV),tflite)

run: setup
	@exec $(BIN)/vigild run $(if $(CONFIG),--config '$(CONFIG)') $(if $(SOURCE),--source '$(SOURCE)') \
	  $(if $(MODEL),--model '$(MODEL)') $(if $(LABELS),--labels '$(LABELS)')

lint: setup
	$(BIN)/ruff check daemon tests models cross
	$(BIN)/ruff format --check daemon tests models cross
	$(BIN)/mypy

# Most tests wait for processes more than they compute, so two run for each core. Those that measure are marked `alone`,
# and follow: two at a time where there are two cores, of which none takes more than half of one. JOBS=0: all of them one
# at a time.
CORES := $(shell nproc 2>/dev/null || echo 1)
JOBS  ?= $(shell expr $(CORES) '*' 2)
SIDE_BY_SIDE = --numprocesses $(JOBS) --dist worksteal
ALONE = --numprocesses $(if $(filter 1,$(CORES))$(filter 0,$(JOBS)),0,2) -m alone

# $(call tests,PYTHON,TESTS). All run, whatever fails. Those to be run alone are looked for in their own files only:
# to collect all of them again takes longer than some suites. pytest's 5 says that there are none after all.
define tests
	@status=0; set -x; \
	$(1) -m pytest $(SIDE_BY_SIDE) -m 'not alone' $(2) || status=$$?; \
	alone=$$(grep -rl --include='test_*.py' mark.alone $(2)); \
	[ -z "$$alone" ] || $(1) -m pytest $(ALONE) $$alone || [ $$? -eq 5 ] || status=1; \
	exit $$status
endef

test-unit: setup
	$(call tests,$(BIN)/python,tests/unit)

test-system: setup
	$(call tests,$(BIN)/python,tests/system)

# What depends on the runtime, or on the version of OpenCV and NumPy that comes with it, on tflite-runtime.
RUNTIME_TESTS := $(wildcard tests/unit/test_model_*.py tests/unit/test_detector_*.py) tests/unit/test_embedded_model.py \
  $(addprefix tests/unit/test_camera_,convert.py images.py jpeg.py mjpeg.py upright.py) \
  tests/unit/test_selftest_conduct.py \
  tests/system/test_replay.py tests/system/test_accuracy.py tests/system/test_selftest.py

# tflite-runtime's last wheel is for Python 3.11.
HAS_TFLITE = $(shell $(PYTHON) -c 'import sys; print(sys.version_info < (3, 12))' 2>/dev/null)

test-tflite: $(if $(filter True,$(HAS_TFLITE)),$(TFLITE_VENV)/.ready)
	$(if $(filter True,$(HAS_TFLITE)),\
	  $(call tests,$(TFLITE_VENV)/bin/python,$(RUNTIME_TESTS)),\
	  @echo "test-tflite skipped: tflite-runtime has no wheel for $$($(PYTHON) --version)")

# The root of the container is made once (a minute) and kept in ~/.cache/vigild/boards. The tests of a file share a
# board, and mostly wait for it: two files at a time.
test-container: setup
	$(BIN)/python -m pytest tests/container -m "not fleet" --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Ten boards share this machine for four minutes: not in CI.
test-fleet: setup
	$(BIN)/python -m pytest tests/container -m fleet

# Whole emulated boards; the image of each is made once (4 and 10 minutes, as root) and kept there too.
test-board: setup
	VIGILD_BOARD_ARCH='$(if $(filter command line environment,$(origin ARCH)),$(ARCH))' $(BIN)/python -m pytest tests/board_vm -m "not pages"

# What the pages of tasks tell people to type, on one of them and from here.
test-board-pages: setup
	$(BIN)/python -m pytest tests/board_vm -m pages

# What pytest makes of a test's asserts is kept beside it: found once, while lint runs, not by every process of `test` for
# itself. What cannot be imported is told before anything runs.
collect: setup
	@$(BIN)/python -m pytest --collect-only -qq tests/unit tests/system >/dev/null || \
	  $(BIN)/python -m pytest --collect-only -qq tests/unit tests/system

test: setup
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint collect
	$(call tests,$(BIN)/python,tests/unit tests/system)

TESTS ?= tests/unit tests/system
BUSY  ?= 0
test-repeat: N = 10
test-repeat: setup
	@repeat() { PYTHONPATH=tests $(BIN)/python -m repeat --times $(N) --busy $(BUSY) "$$@"; }; \
	status=0; set -x; \
	repeat -- $(SIDE_BY_SIDE) -m 'not alone' $(TESTS) || status=1; \
	alone=$$(grep -rl --include='test_*.py' mark.alone $(TESTS)); \
	[ -z "$$alone" ] || repeat --out build/repeat/alone -- $(ALONE) $$alone || status=1; \
	exit $$status

# Off-board: how the embedded models are made. 2.3 GB; nothing else here needs it.
FORGE_VENV ?= .venv-forge

forge-setup: $(FORGE_VENV)/.ready

$(FORGE_VENV)/.ready: models/forge/requirements.txt
	@echo "Setting up $(FORGE_VENV): PyTorch and the converters, 2.3 GB, several minutes"
	@$(PYTHON) -m venv $(FORGE_VENV)
	@$(FORGE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r models/forge/requirements.txt
	@touch $@

FORGE_TF_VENV ?= .venv-forge-tf

forge-setup-tf: $(FORGE_TF_VENV)/.ready

$(FORGE_TF_VENV)/.ready: models/forge/requirements-tf.txt
	@echo "Setting up $(FORGE_TF_VENV): TensorFlow, 2.3 GB, several minutes"
	@$(PYTHON) -m venv $(FORGE_TF_VENV)
	@$(FORGE_TF_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r models/forge/requirements-tf.txt
	@touch $@

# Its tests of the TensorFlow route are left out where that environment is not.
test-forge: forge-setup
	PYTHONPATH=models:daemon $(FORGE_VENV)/bin/python -m pytest tests/forge

# The embedded models from the beginning: DATA, a folder as docs/training.md describes; VIDEOS, unlabelled ones;
# TEACHER, the float32 COCO SSD-MobileNet v1; LABELLER and its LABELS, a COCO model with the op. Hours; goes on
# where it was when it is started again. MINUTES: of each run, to try whether all is there; empty: the recipes' own.
MODELS_RUN ?= build/models
MINUTES ?=
FORGE := PYTHONPATH=models:daemon $(FORGE_VENV)/bin/python -m forge
PHOTOS = $(FORGE) photos --data '$(DATA)' --seen $(MODELS_RUN)/seen.json --frames $(MODELS_RUN)/frames \
  --frames-seen $(MODELS_RUN)/frames.json --teacher '$(TEACHER)' --out $(MODELS_RUN)/out $(if $(MINUTES),--minutes $(MINUTES))

models: forge-setup
	@test -n '$(DATA)' -a -n '$(TEACHER)' -a -n '$(LABELLER)' -a -n '$(LABELS)' || { \
	  echo "make models needs DATA=, TEACHER=, LABELLER= and LABELS= (and VIDEOS=, if any): see docs/training.md"; exit 1; }
	@mkdir -p $(MODELS_RUN)/frames
	test -z '$(VIDEOS)' || $(FORGE) frames $(VIDEOS) --out $(MODELS_RUN)/frames
	test -e $(MODELS_RUN)/seen.json || $(FORGE) pseudo --model '$(LABELLER)' --labels '$(LABELS)' --images '$(DATA)/images' --out $(MODELS_RUN)/seen.json
	test -e $(MODELS_RUN)/frames.json || $(FORGE) pseudo --model '$(LABELLER)' --labels '$(LABELS)' --images $(MODELS_RUN)/frames --out $(MODELS_RUN)/frames.json
	$(PHOTOS) --recipe first --run $(MODELS_RUN)/first
	$(PHOTOS) --recipe second --run $(MODELS_RUN)/second --start $(MODELS_RUN)/first/checkpoint.pt
	$(PHOTOS) --recipe third --run $(MODELS_RUN)/third --start $(MODELS_RUN)/second/checkpoint.pt
	$(PHOTOS) --recipe 256 --run $(MODELS_RUN)/256 --start $(MODELS_RUN)/third/checkpoint.pt
	$(PHOTOS) --recipe 192 --run $(MODELS_RUN)/192 --start $(MODELS_RUN)/256/checkpoint.pt

# Boards. TARGET: a file of cross/targets. HOST: one or more user@board; GROUP: of HOSTS, the inventory.
TARGET ?=
HOST   ?=
GROUP  ?=
HOSTS  ?= cross/hosts.toml
SIGN_KEY ?=
WINDOW ?=
CANARY ?=
WAVE   ?=
MAX_FAILED ?=
CROSS  := $(BIN)/python -m cross
MAKING  = $(if $(TARGET),--target '$(TARGET)') $(if $(SIGN_KEY),--key '$(SIGN_KEY)')
BOARDS  = $(foreach host,$(HOST),--host '$(host)') $(if $(GROUP),--group '$(GROUP)') --hosts '$(HOSTS)' $(if $(WINDOW),--window '$(WINDOW)')
WAVES   = $(if $(CANARY),--canary '$(CANARY)') $(if $(WAVE),--wave '$(WAVE)') $(if $(MAX_FAILED),--max-failed '$(MAX_FAILED)')

lock: setup
	@$(CROSS) lock $(MAKING)

bundle: setup
	@$(CROSS) bundle $(MAKING)

deb: setup
	@$(CROSS) deb $(if $(TARGET),--target '$(TARGET)')

deploy: setup
	@$(CROSS) deploy $(MAKING) $(BOARDS) $(WAVES)

rollback: setup
	@$(CROSS) rollback $(BOARDS)

deploy-status: setup
	@$(CROSS) status $(BOARDS)

fleet-status: setup
	@$(CROSS) status --hosts '$(HOSTS)' --group '$(or $(GROUP),all)'

deploy-logs: setup
	@$(CROSS) logs $(BOARDS) $(if $(LINES),-n '$(LINES)')

deploy-doctor: setup
	@$(CROSS) doctor $(BOARDS)

undeploy: setup
	@$(CROSS) undeploy $(BOARDS)

signing-key: setup
	@$(CROSS) signing-key $(if $(SIGN_KEY),--key '$(SIGN_KEY)')

# As root. The root of the emulated system is made once (25 s) and kept in ~/.cache/vigild/boards.
emulate: setup
	@$(CROSS) emulate $(MAKING)

# A whole emulated board on this terminal; its image is made once (as root) and kept there too.
ARCH ?= x86_64
board: setup
	@$(CROSS) board --arch '$(ARCH)'

install: setup
	@$(CROSS) install $(MAKING) $(if $(WINDOW),--window '$(WINDOW)')

uninstall: setup
	@$(CROSS) uninstall

soak-deploy: N = 50
soak-deploy: setup
	$(BIN)/python tests/container/soak_deploy.py -n $(N)

cut-deploy: N = 20
cut-deploy: setup
	$(BIN)/python tests/container/$(if $(EVERY),cut_every.py,cut_deploy.py -n $(N)) --seed $(SEED)

bench: setup
	PYTHONPATH=tests $(BIN)/python -m bench $(ROWS) $(BENCH)

# The governor on simulated boards; no daemon runs, and the machine's speed does not matter.
PLOTS ?= build/budget
bench-budget: setup
	PYTHONPATH=tests $(BIN)/python -m bench.budget --plots '$(PLOTS)'

man: setup
	$(BIN)/python -m vigild.cli.manual build/man

N ?= 100000
fuzz: setup
	PYTHONPATH=tests nice -n 10 $(BIN)/python -m fuzz --cases $(N) --jobs $$(nproc)

test-faults: setup
	VIGILD_ALL_ERRNOS=1 $(BIN)/python -m pytest tests/system/test_injected_faults.py

SEED   ?= 1
CHAOS_MINUTES = $(or $(MINUTES),1)
chaos: setup
	PYTHONPATH=tests:tests/system:. $(BIN)/python -m chaos --minutes $(CHAOS_MINUTES) --seed $(SEED)

FRAMES ?= 1000000
SOAK_MINUTES = $(or $(MINUTES),30)
soak: setup
	PYTHONPATH=tests:tests/system:. $(BIN)/python -m soak --minutes $(SOAK_MINUTES) --frames $(FRAMES)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
