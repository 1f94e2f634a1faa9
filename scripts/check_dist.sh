#!/bin/sh
# Builds the wheel and the sdist, installs each into a clean environment by its lock, and runs `outweigh doctor` there.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m build --no-isolation --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
for built in "$work"/dist/outweigh-*.whl "$work"/dist/outweigh-*.tar.gz; do
    .venv/bin/python -m venv "$work/env"
    pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 $work/env/bin/python -m pip install --quiet --no-compile"
    # What an ordinary `pip install outweigh` brings and nothing else: no extra, no developer's tool.
    $pip "$built" 2>"$work/pip.log" || { cat "$work/pip.log" >&2; exit 1; }
    (cd "$work" && "$work/env/bin/outweigh" doctor --json >"$work/doctor.jsonl")
    "$work/env/bin/python" - "$work/doctor.jsonl" <<'PY'
import importlib.util, json, sys
probes = {(p["kind"], p["name"]): p for p in map(json.loads, open(sys.argv[1], encoding="utf-8"))}
assert probes["stores", "sqlite"]["usable"] and probes["meters", "cpu-model"]["usable"], probes
assert not importlib.util.find_spec("onnxruntime") and not importlib.util.find_spec("torch"), "the base install is not light"
task = probes["tasks", "text-classification"]
assert not task["usable"] and "outweigh[onnx]" in task["remedy"], task
PY
    echo "$(basename "$built"): installs cleanly, outweigh doctor runs, $(du -sm "$work/env" | cut -f1) MB with its environment"
    rm -rf "$work/env"
done
