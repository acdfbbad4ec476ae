#!/bin/sh
# demo.sh [TRAIN OPTIONS]: the main job from nothing. Trains the small Cascade D-PRD from scratch on the built-in
# data, measures it on held-out images, detects in a few of these, and draws its parts.
set -eu
: "${DPRD:=.venv/bin/dprd}"
start=$(date +%s)

run=runs/demo number=1
while [ -e "$run" ]; do
    number=$((number + 1))
    run=runs/demo-$number
done
held_out="$run/data/images/val_*.png"

dprd() {
    printf '\n$ dprd %s\n' "$*" >&2
    "$DPRD" "$@"
}

dprd train --preset cascade-dprd-small --out "$run" "$@"
dprd eval --weights "$run/last.pt" >"$run/eval.txt"
dprd data synth "$run/data" --train 1 --val 12
dprd predict "$held_out" --weights "$run/last.pt" --save-parts --out "$run/predictions"
dprd visualize-parts "$held_out" --weights "$run/last.pt" --grid --compare --out "$run/parts"

cat <<END

Done in $((($(date +%s) - start) / 60)) minutes; everything lies in $run:
  curves              loss.png, ap.png, parts.png (from metrics.csv)
  training            train_batch0.png, parts_step*.png (part overlays at each evaluation)
  predictions         predictions/val_*.png, results.json, results.csv
  parts               parts/grid.jpg, parts/val_*_compare.jpg, parts/parts.csv
  checkpoints         best.pt, last.pt

COCO metrics of last.pt on the held-out images, percent (eval_val.json):

END
cat "$run/eval.txt"
