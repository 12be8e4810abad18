# Every target sets itself up in .venv first; needed are Python 3.11 or newer, make and git, nothing else.
PYTHON ?= python3
VENV   ?= .venv
EXP    ?= ceflnet_synthetic
DATA   ?=
SIZE   ?=
FOLD   ?= 1
SEED   ?= 0
SEEDS  ?= 0
TABLE  ?= all
ARGS   ?=
EXTRAS ?= dev,audio,opensmile,dashboards,slurm,live,docs
# The tested versions, of all extras; `make setup LOCK=` takes the newest that pyproject.toml allows, as other extras do.
LOCK   ?= $(if $(filter file,$(origin EXTRAS)),requirements/locked.txt)
FROM   ?= .
DEVICE ?= cpu

FER    := $(VENV)/bin/fer
PIP    := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check
# What is installed without looking for its dependencies: the lock has them, the other files say why. Digests are checked.
PINNED := $(PIP) install --no-deps --require-hashes
# Two tests at a time, those of a file in one process, which makes what they share once.
PARALLEL := -n 2 --dist loadfile
LOWEST := .venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python
DONE   := $(VENV)/.done

.PHONY: help setup data train cv reproduce ablate dashboard tables report predict faces bench pack-gpu check-gpu test test-slow test-faults coverage lock audit licences lowest plain image dist docs check hooks format clean
.DEFAULT_GOAL := help

help: ## this list, and what experiments are made of
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done
	@echo; echo 'Variables: EXP experiment, DATA its data set in the place of the one it names, SIZE small or paper, FOLD, SEED, ARGS further arguments'
	@echo "Data sets (DATA=): $$(ls experiments/data | sed 's/.yaml//' | paste -sd' ' -), looked for in the folder that FER_DATA names (data/)"
	@echo; if [ -x $(FER) ]; then $(FER) experiments; else echo 'Systems; an experiment is a system on a data set (EXP=<system>_<data>):'; for f in experiments/systems/*.yaml; do printf '  %-24s %s\n' "$$(basename $$f .yaml)" "$$(sed -n 's/^  summary: //p' $$f)"; done; fi

setup: $(DONE) ## install everything into .venv

$(DONE): pyproject.toml $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed; $(PYTHON) is {v.major}.{v.minor}. Try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
ifneq ($(LOCK),)
	$(PINNED) -r $(LOCK) || { echo 'The tested versions cannot be installed here. make setup LOCK= takes the newest that pyproject.toml allows.'; exit 1; }
	$(PIP) install --no-deps --editable .
else
	$(PIP) install --editable '.[$(EXTRAS)]'
	$(PIP) uninstall --yes opencv-python
	$(PINNED) --force-reinstall -r requirements/opencv.txt
endif
	$(PINNED) -r requirements/facenet.txt
	$(PINNED) -r requirements/mediapipe.txt || echo 'mediapipe 0.10.14 is not installed (it has no wheels for Python 3.13 and newer): `landmarks: mesh` will say how to get its weights.'
	@touch $@

data: $(DONE) ## prepare the data set DATA: render or check it, crop its faces
	$(FER) data prepare $(or $(DATA),synthetic) $(ARGS)

train: $(DONE) ## train, evaluate and report the experiment EXP; resumes what was stopped
	$(FER) train $(EXP) $(if $(DATA),--data $(DATA)) $(if $(SIZE),--size $(SIZE)) --fold $(FOLD) --seed $(SEED) $(ARGS)

cv: $(DONE) ## all folds of EXP: what is finished is skipped, what was stopped goes on; ARGS="--seeds 0 1 2"
	$(FER) cv $(EXP) $(if $(DATA),--data $(DATA)) $(if $(SIZE),--size $(SIZE)) $(ARGS)

reproduce: $(DONE) ## a paper's table, or leaderboard_<data>, beside the published values: make reproduce TABLE=ceflnet_6 SEEDS="0 1 2" ARGS=--dry-run
	$(FER) reproduce $(TABLE) $(if $(DATA),--data $(DATA)) $(if $(SIZE),--size $(SIZE)) --seeds $(SEEDS) $(ARGS)

ablate: $(DONE) ## EXP with other settings: make ablate EXP=ceflnet_cremad ARGS='--grid model.sal=[true,false] --seeds 0 1 2'
	$(FER) ablate $(EXP) $(if $(DATA),--data $(DATA)) $(if $(SIZE),--size $(SIZE)) $(ARGS)

dashboard: $(DONE) ## a view in W&B for the runs of a table, an ablation or an experiment: make dashboard ARGS=ceflnet_6
	$(FER) dashboard $(ARGS)

tables: $(DONE) ## list the papers' tables and the leaderboards with their state
	$(FER) tables $(ARGS)

report: $(DONE) ## write a run's report again: make report ARGS=runs/ceflnet_synthetic/1-0
	$(FER) report $(ARGS)

predict: $(DONE) ## expressions over time: make predict ARGS="video.mp4", with a model of yours: ARGS="video.mp4 --checkpoint RUN"
	$(FER) predict $(ARGS)

faces: $(DONE) ## aligned faces of any videos: make faces ARGS="video.mp4 --landmarks mesh"
	$(FER) faces $(ARGS)

pack-gpu: $(DONE) ## pack what check-gpu needs into gpu_pack/, at most 60 MB, to be taken to a machine with a GPU
	$(FER) bench pack-gpu --out gpu_pack $(ARGS)

# Needs no installation: PyTorch, Lightning, timm, torchmetrics, OpenCV, scikit-learn, and gpu_pack/ for the rest.
check-gpu: ## on a machine with a GPU: measure and test for ten minutes, into results/gpu_checks.json
	PYTHONPATH=.:gpu_pack/packages FER_DATA=gpu_pack/data $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,$(PYTHON)) -m fer_lightning bench gpu $(ARGS)

bench: $(DONE) ## measure speed: make bench ARGS=all, or ARGS=models for all systems
	$(FER) bench $(ARGS)

test: $(DONE) ## the tests
	$(VENV)/bin/python -m pytest $(PARALLEL) $(ARGS)

test-slow: $(DONE) ## the tests that take long, without those of faults
	$(VENV)/bin/python -m pytest -m slow --ignore tests/faults $(ARGS)

test-faults: $(DONE) ## every fault of docs/faults.md anew: damaged and hostile files, kills, full disks
	$(VENV)/bin/python -m pytest -m 'slow or not slow' tests/faults $(ARGS)

coverage: $(DONE) ## the tests, and what they run; fails below the share that pyproject.toml names
	$(VENV)/bin/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered --cov-report=xml $(ARGS)

lock: $(DONE) ## add what is new in pyproject.toml to requirements/locked.txt; ARGS=--upgrade takes the newest versions
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --override requirements/overrides.txt --custom-compile-command 'make lock' --output-file requirements/locked.txt $(ARGS) pyproject.toml

audit: $(DONE) ## known vulnerabilities of what the lock and the pinned wheels name; what cannot be looked up is an error
	$(VENV)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/locked.txt -r requirements/facenet.txt -r requirements/mediapipe.txt $(ARGS)

licences: $(DONE) ## the licences of what is installed; one that pyproject.toml does not allow is an error
	$(VENV)/bin/pip-licenses $(ARGS)

lowest: ## the tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	$(LOWEST) --resolution lowest-direct --override requirements/overrides.txt --editable '.[dev,audio,opensmile]' # dashboards ask for a newer wandb
	$(LOWEST) --no-deps --require-hashes -r requirements/facenet.txt
	$(LOWEST) --no-deps --require-hashes -r requirements/mediapipe.txt
	.venv-lowest/bin/python -m pytest $(PARALLEL) $(ARGS)

plain: ## an installation without extras in .venv-plain: fer starts, every module is imported; FROM=dist/*.whl
	$(PYTHON) -m venv --clear .venv-plain
	.venv-plain/bin/python -m pip install --quiet $(FROM)
	.venv-plain/bin/fer --version
	.venv-plain/bin/fer --help
	.venv-plain/bin/python tests/import_every_module.py

image: ## a container image of `fer`, fer_lightning:cpu; DEVICE=cuda for NVIDIA's GPUs
	docker build --file .github/docker/Dockerfile --build-arg DEVICE=$(DEVICE) --tag fer_lightning:$(DEVICE) .

dist: $(DONE) ## build the sdist and the wheel into dist/, and check their metadata
	rm -rf dist
	$(VENV)/bin/python -m build
	$(VENV)/bin/twine check --strict dist/*

docs: $(DONE) ## the documentation, site/index.html; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

check: $(DONE) ## ruff, codespell, mypy strict, the import contracts, current tables, and the tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	git ls-files -z | xargs -0 $(VENV)/bin/codespell
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(FER) tables --check
	$(MAKE) test

hooks: $(DONE) ## the hooks of pre-commit, on every file
	$(VENV)/bin/pre-commit run --all-files

format: $(DONE) ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## remove the environment and caches; data and runs stay
	rm -rf $(VENV) .venv-lowest .venv-plain dist build site .coverage* coverage.xml .mypy_cache .ruff_cache .pytest_cache *.egg-info
