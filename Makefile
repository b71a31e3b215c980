# Each target sets up what it needs by itself: a virtual environment in .venv, and the Debian packages listed in
# deploy/debian-packages.txt (installed as root, named otherwise). Nothing else outside the checkout is touched.
#
#   make demo     customers, people and documents to try, served over WebDAV        ARGS="--http-port 8090"
#   make run      serve the installation in DATA                                    DATA=demo-data ARGS=...
#   make test     every test but the long proofs                                    ARGS="-k locks"
#   make check    format, lint, types, import layers, house rules
#   make proof    kills, power cuts, twin worlds, corruption, fuzz, a plain model    MELLANRUM_PROOF=short MELLANRUM_SEED=7
#   make bench    speed beside Apache and rclone, OpenSSH                           ARGS=... SFTP_ARGS=--quick

# The system's own python3 where it will do: distributions build theirs with what their compiler learned from running it,
# pyenv and the like mostly do not, and a small request is mostly Python. Another one: make PYTHON=python3.13 ...
PYTHON ?= $(shell for each in /usr/bin/python3 python3; do \
	$$each -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; done; echo $$each)
DATA ?= demo-data
ARGS ?=
SFTP_ARGS ?=
BIN := .venv/bin
SETUP := @$(PYTHON) deploy/dev/setup.py
export MELLANRUM_PROOF ?= full
# Some machines are set up not to keep compiled modules. The tests start dozens of servers, of three to five processes, and
# more command lines, each of which would compile all of ours anew: a third of what it takes to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo run test check proof bench format settings commands first-migration pins clean

demo:
	$(SETUP) run
	@$(BIN)/mellanrum demo $(ARGS)

run:
	$(SETUP) run
	@$(BIN)/mellanrum --data $(DATA) serve $(ARGS)

test:
	$(SETUP) test
	$(BIN)/pytest -m "not proof" -n auto --dist loadfile $(ARGS)

check:
	$(SETUP) test
	@sh deploy/dev/check.sh $(BIN)

proof:
	$(SETUP) test proof
	$(BIN)/pytest -m proof -s $(ARGS)

bench:
	$(SETUP) bench
	$(BIN)/python -P tests/bench/run.py $(ARGS)
	$(BIN)/python -P tests/bench/sftp.py $(SFTP_ARGS)

# For those who change the code.

format:
	$(SETUP) test
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

# docs/SETTINGS.md and the sample file, from the schema
settings:
	$(SETUP) test
	$(BIN)/python deploy/dev/settings_text.py

# docs/CLI.md, from the command line itself and the errors
commands:
	$(SETUP) test
	$(BIN)/python deploy/dev/cli_text.py

# migration 0001 of both chains, from the tables; until the first release
first-migration:
	$(SETUP) test
	$(BIN)/python deploy/dev/first_migration.py

# deploy/constraints.txt, from what is installed
pins:
	$(SETUP) test
	$(BIN)/pip freeze --exclude-editable > deploy/constraints.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
