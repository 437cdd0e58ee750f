#!/usr/bin/env bash
# PostgreSQL, an S3 store, Prefect, MLflow and a worker as plain processes of this machine: up, down, status.
# Variables and examples: docs/operations.md, "Servers".
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${FRUGAL_PYTHON:-$here/../.venv/bin/python}
if [ ! -x "$python" ]; then
  echo "error: $python: no Python there; type \`make .venv/.ready\`, or set FRUGAL_PYTHON to one that has frugal-loop[servers]" >&2
  exit 2
fi
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -P -m infra.local "$@"
