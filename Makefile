# us_recon: set-up, tests and the demonstration. `make help` lists the targets.
#
# Without ROS 2, set-up brings it from the Python package index; in a shell where a ROS 2
# distribution (Jazzy, Kilted) is sourced, it uses that one.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: setup test lint demo bench bench-fast clean distclean help

# The stamps carry the kind of ROS in their name, so that a change of it sets up anew.
ROS_KIND := $(if $(and $(ROS_DISTRO),$(AMENT_PREFIX_PATH)),$(ROS_DISTRO),wheels)
STAMPS := .ros/stamps/$(ROS_KIND)
ENV := . ./env.sh &&
BENCHMARKS := simulated_images volume_reconstruction tissue_map renderer expected_images device_fit \
	calibration spine_mapping organ_mapping shape_prior decoder_prior field_speed live_mesh \
	brain_registration brain_gate search_settings registration_settings registration_time \
	brain_tracking brain_shift bone_leg resect24 load field_load
# Those that take minutes even in part are left out of the fast run.
FAST_BENCHMARKS := $(filter-out tissue_map device_fit field_speed live_mesh \
	search_settings registration_settings,$(BENCHMARKS))

## setup: virtual environment, system libraries, messages, env.sh
setup: $(STAMPS)/workspace
	@echo "== Ready. Use: . ./env.sh"

$(STAMPS)/python: constraints.txt setup.cfg scripts/python_environment.sh \
		scripts/system_packages.sh scripts/find_python.sh scripts/common.sh
	@scripts/check_kind.sh $(ROS_KIND)
	@python=$$(scripts/find_python.sh) && \
		scripts/system_packages.sh "$$python" && \
		scripts/python_environment.sh "$$python"
	@mkdir -p $(@D) && touch $@

$(STAMPS)/workspace: $(STAMPS)/python CMakeLists.txt package.xml us_recon/__init__.py \
		scripts/build_workspace.sh scripts/write_env.sh scripts/launcher.py.in \
		$(wildcard msg/* launch/* config/*) $(shell find ros_compat -type f)
	@scripts/build_workspace.sh
	@scripts/write_env.sh
	@touch $@

$(STAMPS)/bench: $(STAMPS)/workspace
	@$(ENV) python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--constraint constraints.txt --editable ".[bench]"
	@touch $@

## test: set up, then all checks and all tests, by two processes
test: setup lint
	@$(ENV) python -m pytest --numprocesses 2 --dist loadfile

## lint: style (ruff), types (mypy) and the direction of imports (import-linter)
lint: setup
	@$(ENV) ruff check .
	@$(ENV) mypy
	@$(ENV) lint-imports --no-logo

## demo: the virtual scanning cell, mapped and registered; results in demo_output/
demo: setup
	@$(ENV) us-recon demo --out demo_output

## bench: every benchmark, about four hours on two cores; tables in benchmarks/results/
bench: $(STAMPS)/bench
	@$(ENV) for name in $(BENCHMARKS); do \
		echo "== $$name"; python -m "benchmarks.$$name" || exit 1; done

## bench-fast: a part of most benchmarks, about ten minutes; tables in benchmarks/results/fast/
bench-fast: $(STAMPS)/bench
	@$(ENV) for name in $(FAST_BENCHMARKS); do \
		echo "== $$name"; python -m "benchmarks.$$name" --fast || exit 1; done

## clean: remove what builds and tests left, keep the virtual environment
clean:
	rm -rf .ros env.sh build demo_output .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache us_recon.egg-info
	find us_recon test benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

## distclean: clean, and remove the virtual environment too
distclean: clean
	rm -rf .venv

## help: this list
help:
	@sed -n 's/^## //p' Makefile | sort
