#!/bin/sh
# Makes .venv: a plain virtual environment holding exactly requirements.lock.
# PYTHON=/path/to/python chooses the interpreter. Called by make when the lock changes.
set -eu
cd "$(dirname "$0")/.."
started=$(date +%s)

python=
for candidate in ${PYTHON:-python3.11 python3}; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "This project needs Python 3.11 or newer; tried: ${PYTHON:-python3.11 python3}." >&2
  echo "Install one, or name one you have: make PYTHON=/path/to/python3.11" >&2
  exit 1
fi

# An environment whose interpreter is gone, or is another version, is made afresh.
wanted=$("$python" -c 'import sys; print(*sys.version_info[:2])')
found=$(.venv/bin/python -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null || true)
[ "$wanted" = "$found" ] || rm -rf .venv

count=$(grep -c '^[A-Za-z0-9]' requirements.lock)
echo "Installing $count locked packages into .venv with $("$python" --version) (a minute or two) ..."
"$python" -m venv .venv
# --no-deps: the lock is complete, and neural-tangents must not bring TensorFlow.
# --no-compile: half the time; Python compiles what it imports.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
  --no-deps --require-hashes -r requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  --no-deps --no-build-isolation -e .
touch .venv/.installed
echo "Installed in $(($(date +%s) - started)) s."
