#!/bin/sh
# draw_docs_figures.sh: the pictures of the terminal, the report and the data commands in docs/figures, from the
# built-in data. Takes a few minutes on two cores and needs Chromium; what it makes on the way lies in runs/.
set -eu
: "${STEPS:=30}"
out=docs/figures
rm -rf runs/figures runs/figures-high-rate runs/figures-shown runs/figures-plots
every=$((STEPS / 3))
options="--weights demo --steps $STEPS --set train.eval_every=$every --set train.eval_limit=32 --set train.log_every=2"

python scripts/terminal_picture.py --out "$out/train-terminal.svg" \
    --until "(?s)step $every/$STEPS  eval.*evaluate [^\n]*(1[0-9]|2[0-9]) of 32" \
    -- dprd train $options --out runs/figures
dprd train $options --lr 4e-3 --out runs/figures-high-rate
dprd report runs/figures --out runs/figures/report.html --overwrite
dprd report runs/figures runs/figures-high-rate --no-eval --out runs/figures/compare.html --overwrite

picture() { python scripts/page_pictures.py "$@"; }
picture runs/figures/report.html "$out/report-top.png" --height 1080
picture runs/figures/report.html "$out/report-measured.png" --sections run1-pr run1-confusion
picture runs/figures/report.html "$out/report-images.png" --sections run1-images run1-gradcam
picture runs/figures/report.html "$out/report-phone.png" --width 390 --height 1100
picture runs/figures/compare.html "$out/report-compare.png" --height 1400

dprd data show synthetic --schedule photos --limit 8 --out runs/figures-shown
dprd data stats synthetic --out runs/figures-plots
python - <<END
from PIL import Image

sheets = [Image.open(f"runs/figures-shown/train_{name}0.png").convert("RGB") for name in ("annotated", "batch")]
whole = Image.new("RGB", (sheets[0].width, sum(sheet.height for sheet in sheets)), "white")
for sheet, top in zip(sheets, (0, sheets[0].height)):
    whole.paste(sheet, (0, top))
small = whole.resize((1280, whole.height * 1280 // whole.width), Image.Resampling.LANCZOS)
small.save("$out/data-show.jpg", quality=85)
Image.open("runs/figures-plots/objects.png").convert("RGB").quantize(64).save("$out/data-stats.png", optimize=True)
END
