#!/bin/sh
# Format, lint, types, layers, house rules: all of them are run, and each that fails is named at the end.
BIN=$1
failed=""

step() {
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}

step format "$BIN/ruff" format --check .
step lint "$BIN/ruff" check .
step types "$BIN/mypy"
step layers "$BIN/lint-imports"
step house "$BIN/pytest" -q tests/house tests/config/test_settings.py

if [ -n "$failed" ]; then
    echo "check failed:$failed"
    exit 1
fi
echo "check passed"
