# `make demo` and `make test` set up everything in .venv; the others use what is there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TEXT := The animal didn't cross the street because it was tired

.PHONY: demo test init lint types slow real web browser sanitize wheel mutation bench pictures

demo: init
	$(BIN)/eyeline look "$(TEXT)" --token it

test: init lint types
	$(BIN)/pytest -n 2

init: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints.txt CMakeLists.txt $(wildcard kernels/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[hf,dev]"
	touch $@

lint: init
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check --no-cache src tests bench
	$(BIN)/lint-imports

types: init
	$(BIN)/pyright --pythonpath $(BIN)/python

slow: init
	$(BIN)/pytest -n 2 -m slow

real: init
	$(BIN)/eyeline models get minilm smollm2
	$(BIN)/pytest -n 2 -m real

# The browser's script and style: types, then the bundle that is committed.
web:
	cd web && npm ci --no-audit --no-fund && npm run check && npm test && npm run build

# Drives the page in Chromium (apt-get install chromium), with the network off.
browser: init
	$(BIN)/pytest -n 2 -m browser tests/browser

mutation: init
	$(BIN)/python -m bench.mutation

# The kernels watched by the address and undefined-behaviour sanitizers (Linux, gcc): the build that is chosen here.
SANITIZED := build/sanitize
sanitize: init
	ISA=$$($(BIN)/python -c 'from eyeline.impl._native_library import library; print(library().isa)') && \
	$(BIN)/cmake -S kernels -B $(SANITIZED) -DEYELINE_SANITIZE=ON -DEYELINE_ISAS=$$ISA
	$(BIN)/cmake --build $(SANITIZED) --parallel 2
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 EYELINE_LIBRARY=$(SANITIZED)/libeyeline_kernels.so \
	$(BIN)/python tests/_isa_grid.py

# The wheel, built in isolation, in an environment where nothing else knows eyeline.
wheel: init
	rm -rf build/wheel build/smoke
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv --without-pip build/smoke
	SITE=$$(build/smoke/bin/python -c 'import site; print(site.getsitepackages()[0])') && \
	$(BIN)/python -m pip install --quiet --no-deps --target $$SITE build/wheel/*.whl && \
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > $$SITE/dependencies.pth
	cd build/smoke && bin/python -I ../../tests/_smoke.py

bench: init
	$(BIN)/python -m bench.observe
	$(BIN)/python -m bench.watch
	$(BIN)/python -m bench.attention
	$(BIN)/python -m bench.growth
	$(BIN)/python -m bench.models
	$(BIN)/python -m bench.explorer
	$(BIN)/python -m bench.load
	$(BIN)/python -m bench.doctor

pictures: init
	$(BIN)/python -m bench.screenshots
	EYELINE_PICTURES=docs $(BIN)/pytest -m browser tests/browser/test_pictures.py -k docs
