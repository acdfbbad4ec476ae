"""draw_architecture.py: writes docs/figures/architecture.svg, the data's way through the packages."""

from __future__ import annotations

from html import escape
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "docs" / "figures" / "architecture.svg"
WIDTH, HEIGHT = 1180, 600
INK, GREY, GOLD, BLUE, PAPER = "#1b1b1f", "#5f6368", "#E69F00", "#0072B2", "#ffffff"
FONT = "font-family='DejaVu Sans, Helvetica, Arial, sans-serif'"

#: x, y, width, title, what happens, where; colour of the frame.
BOXES: dict[str, tuple[int, int, int, str, str, str, str]] = {
    "data": (
        20,
        20,
        210,
        "annotated images",
        "COCO, VOC, YOLO, built-in",
        "data/formats, data/synthetic",
        BLUE,
    ),
    "sample": (260, 20, 180, "Sample", "one image, its objects", "structures/sample", GREY),
    "batch": (470, 20, 210, "batch", "resize, flip, crop, colour", "data/transforms, data/loading", BLUE),
    "pyramid": (710, 20, 200, "P2 .. P6", "backbone, feature pyramid", "model/backbone, model/neck", INK),
    "rpn": (940, 20, 220, "proposals", "and the anchor of each", "model/rpn", INK),
    "sampling": (
        940,
        150,
        220,
        "RoIs",
        "training: drawn and labelled",
        "model/sampling, model/matching",
        INK,
    ),
    "parts": (710, 150, 200, "part boxes", "Eq. 2, the sigma rule", "model/parts", GOLD),
    "pool": (
        470,
        150,
        210,
        "RoI features",
        "whole and parts, one call",
        "model/rois, ops/roi_align",
        GOLD,
    ),
    "fusion": (260, 150, 180, "assembly (RDA)", "Eq. 1: comb 3, comb 4", "model/fusion", GOLD),
    "heads": (20, 150, 210, "heads", "class, box, mask, mask IoU", "model/heads, model/stage", INK),
    "losses": (20, 290, 210, "losses", "Eq. 3, every stage", "model/losses", INK),
    "train": (20, 420, 210, "training", "steps, checkpoints, resume", "training/, weights/", BLUE),
    "detections": (
        480,
        290,
        300,
        "Detections",
        "averaged, NMS, in the image's frame",
        "structures/detections",
        GREY,
    ),
    "look": (270, 420, 200, "files and drawings", "JSON, CSV, labelme, video", "inference/, drawing/", BLUE),
    "measure": (500, 420, 200, "metrics", "COCO, VOC, TIDE, parts", "evaluation/", BLUE),
    "cam": (730, 420, 200, "Grad-CAM", "of one detection", "gradcam/", BLUE),
    "export": (960, 420, 200, "ONNX, torch.export", "the same detections", "export/", BLUE),
    "report": (270, 525, 430, "tables, studies, one HTML page", "", "studies/, report/", BLUE),
}
#: Points of each arrow; the last one has the head.
ARROWS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((230, 55), (260, 55)),
    ((440, 55), (470, 55)),
    ((680, 55), (710, 55)),
    ((910, 55), (940, 55)),
    ((1050, 92), (1050, 150)),
    ((940, 185), (910, 185)),
    ((710, 185), (680, 185)),
    ((470, 185), (440, 185)),
    ((260, 185), (230, 185)),
    ((125, 222), (125, 290)),
    ((125, 362), (125, 420)),
    ((230, 205), (246, 205), (246, 325), (480, 325)),
    ((630, 362), (370, 420)),
    ((630, 362), (600, 420)),
    ((630, 362), (830, 420)),
    ((630, 362), (1060, 420)),
    ((370, 492), (370, 525)),
    ((600, 492), (600, 525)),
)
#: Dashed: the cascade feeds refined boxes again; the model as a whole is exported.
LOOPS: tuple[tuple[tuple[int, int], ...], ...] = (((160, 150), (160, 122), (810, 122), (810, 150)),)
NOTES = (
    (300, 116, "cascade: refined boxes go to the parts again (Fig. 3)", GOLD),
    (256, 316, "test", GREY),
    (132, 262, "training", GREY),
)


def box(x: int, y: int, width: int, texts: tuple[str, str, str], color: str) -> str:
    """Return one box: a title, a line on what happens, and the modules."""
    title, what, where = texts
    height = 72 if what else 56
    lines = [(title, 16, INK, "bold"), (what, 12.5, INK, "normal"), (where, 12, color, "normal")]
    shown = [line for line in lines if line[0]]
    lettering = "".join(
        f"<text x='{x + width / 2}' y='{y + 24 + 19 * row}' font-size='{size}' fill='{fill}' "
        f"font-weight='{weight}' text-anchor='middle' {FONT}>{escape(text)}</text>"
        for row, (text, size, fill, weight) in enumerate(shown)
    )
    frame = f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='9' fill='{PAPER}' stroke='{color}' "
    return f"{frame}stroke-width='2'/>{lettering}"


def path(points: tuple[tuple[int, int], ...], color: str, dashes: str = "") -> str:
    """Return an arrow along points."""
    way = " L ".join(f"{x} {y}" for x, y in points)
    style = f"stroke='{color}' stroke-width='2' fill='none' marker-end='url(#head)'"
    return f"<path d='M {way}' {style} stroke-dasharray='{dashes or 'none'}'/>"


def main() -> None:
    """Write the figure."""
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        "aria-label='The way of the data from annotated images to losses or detections'>",
        "<defs><marker id='head' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' "
        f"orient='auto'><path d='M 0 0 L 10 5 L 0 10 z' fill='{GREY}'/></marker></defs>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='{PAPER}'/>",
        *(path(points, GREY) for points in ARROWS),
        *(path(points, GOLD, "6 4") for points in LOOPS),
        *(box(x, y, width, texts, color) for x, y, width, *texts, color in BOXES.values()),
        *(
            f"<text x='{x}' y='{y}' font-size='12' fill='{color}' {FONT}>{escape(text)}</text>"
            for x, y, text, color in NOTES
        ),
        "</svg>",
    ]
    OUT.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(OUT)


if __name__ == "__main__":
    main()
