#!/bin/sh
# The main job on the example. Ends with the verdict's exit code: 0 pass, 1 fail, 5 inconclusive.
cd "$(dirname "$0")/.." || exit 2
.venv/bin/outweigh review "${PROJECT:-examples/news-triage}" $ARGS
code=$?
case $code in
    0|1|5) echo "exit code of the verdict: $code (0 pass, 1 fail, 5 inconclusive)" >&2 ;;
    *) echo "the review ended with exit code $code" >&2 ;;
esac
exit $code
