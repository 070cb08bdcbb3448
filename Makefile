# Every target sets up what it needs: a virtual environment in .venv, with the exact versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
SETUP := pyproject.toml constraints.txt
# Only a terminal can press Ctrl-C; elsewhere the demo ends by itself.
DEMO := $(shell test -t 1 || echo --seconds 60)

.PHONY: demo test check bench clean
demo: .venv/.local
	$(BIN)/lookout demo $(DEMO)

test: .venv/.dev
	deploy/local/install-debian chromium prometheus postgresql gir1.2-gst-rtsp-server-1.0 \
		gstreamer1.0-plugins-good gstreamer1.0-plugins-bad python3-gi
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev
	$(BIN)/python -m tests.bench

clean:
	rm -rf .venv build *.egg-info

.venv/.local: $(SETUP)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lookout needs Python 3.11 or newer")'
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || deploy/local/install-debian python3-venv
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[local]'
	touch $@

.venv/.dev: .venv/.local
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[local,dev]'
	touch $@
