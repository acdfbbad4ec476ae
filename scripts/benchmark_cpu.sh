#!/bin/sh
# benchmark_cpu.sh OUTDIR: the CPU table of docs/performance.md. Writes one JSON file for each benchmark, log.txt, and
# table.md with every row. Each benchmark has its own time limit, so that one that fails does not lose the others.
# PYTHON names the interpreter (one that has Detectron2 measures that too), REPETITIONS the timed turns (5).
# About 30 minutes on two quiet cores.
set -u
out=${1:?usage: benchmark_cpu.sh OUTDIR}
: "${PYTHON:=python}" "${REPETITIONS:=5}"
mkdir -p "$out"
: >"$out/log.txt"

# measure FILE SECONDS ARGUMENTS...
measure() {
    file=$1 limit=$2
    shift 2
    echo "dprd benchmark $*" | tee -a "$out/log.txt" >&2
    timeout "$limit" "$PYTHON" -m dprd_cli benchmark "$@" --json >"$out/$file.json" 2>>"$out/log.txt"
    status=$?
    [ "$status" -eq 0 ] && return
    rm -f "$out/$file.json"
    echo "  failed with status $status" | tee -a "$out/log.txt" >&2
}

measure roialign 180 roialign --repetitions "$REPETITIONS"
measure paste 90 paste --repetitions "$REPETITIONS"
measure startup 180 startup --repetitions "$REPETITIONS"
for peer in torchvision detectron2 mask-rcnn; do
    measure "inference-$peer" 180 inference --against "$peer" --repetitions "$REPETITIONS"
    measure "train-$peer" 240 train --against "$peer" --repetitions "$REPETITIONS"
done
bf16="--precision bf16 --repetitions $REPETITIONS"  # each also against float32
# shellcheck disable=SC2086
for what in inference train; do
    measure "$what-bf16" 240 "$what" $bf16
    measure "$what-cascade-bf16" 400 "$what" --against mask-rcnn --preset cascade-dprd $bf16
done
measure eval 300 eval --repetitions 1
measure check 300 check
measure predict 900 predict

"$PYTHON" - "$out" <<'END' | tee "$out/table.md"
"""Print the rows of every JSON file in a folder as one Markdown table."""
import json
import sys
from pathlib import Path

from dprd_cli.benchmark.table import show

reports = [json.loads(path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*.json"))]
if reports:
    machine = reports[0]["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    print(f"{machine['date']}, {machine['processor']}, {machine['threads']} threads, ", end="")
    print(f"Python {machine['python']}, {versions}.\n")
print("| what | against | measured | target | |\n|---|---|---|---|---|")
for report in reports:
    for row in report["rows"]:
        measured, target = (show(row[key], row["unit"]) for key in ("value", "target"))
        sign, met = (">=" if row["at_least"] else "<="), ("met" if row["met"] else "missed")
        print(f"| {row['what']} | {row['against']} | {measured} | {sign} {target} | {met} |")
print()
for report in reports:
    print(f"- {report['benchmark']}, {' and '.join(report['programs'])}: {report['answers']}")
END
