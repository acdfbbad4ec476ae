"""Examples of every command, for its help: what one is for, and the line to type."""

from __future__ import annotations

#: Words of a command without the program's -> (purpose, command line), most useful first.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("try it: a detector that comes along, on an image of yours", "dprd predict photo.jpg --weights voc"),
        ("look at your data before training", "dprd data check DATA"),
        ("train on it, everything fitted to it", "dprd train --data DATA"),
        ("measure what came out, on its held-out images", "dprd eval"),
    ),
    "train": (
        ("on a folder of yours: schedule, preset and batch are fitted to it", "dprd train --data DATA"),
        ("a named preset and schedule", "dprd train --data coco --preset cascade-dprd --schedule 1x"),
        ("a quick one on the built-in data", "dprd train --preset dprd-small --steps 300 --out runs/quick"),
        ("go on after a stop, to more epochs", "dprd train --resume runs/quick --epochs 20"),
    ),
    "eval": (
        ("the newest run, on its own held-out images", "dprd eval"),
        ("a checkpoint on other data, with several views", "dprd eval --weights best.pt --data DATA --tta"),
        ("detections of any program, in COCO's format", "dprd eval --results results.json --data DATA"),
        ("is A better than B, beyond chance in the images?", "dprd eval --compare runs/a runs/b"),
    ),
    "predict": (
        (
            "images and folders; a detector that comes along",
            "dprd predict photo.jpg photos --weights voc",
        ),
        ("every fifth frame of a video, with parts", "dprd predict clip.mp4 --frame-step 5 --save-parts"),
        (
            "more images than one machine should, on a Ray cluster",
            "dprd predict --ray auto --list all.txt --weights runs/a --out found",
        ),
        (
            "a data set to correct in an annotation program",
            "dprd predict photos --save dataset --score-thresh 0.6 --out labelled",
        ),
    ),
    "visualize-parts": (
        ("which part moved where, in the newest run", "dprd visualize-parts photo.jpg"),
        ("the way through the cascade", "dprd visualize-parts photos --weights voc --per-stage"),
        ("beside parts that do not move", "dprd visualize-parts photo.jpg --compare --style paper"),
    ),
    "gradcam": (
        ("where the score of each object comes from", "dprd gradcam photo.jpg --weights voc"),
        ("two detectors side by side", "dprd gradcam photo.jpg --weights runs/a --compare cascade-mrcnn"),
        ("how well the maps stay on objects, in numbers", "dprd gradcam --stats --data DATA --limit 100"),
    ),
    "ablate": (
        ("what it would train, and how long that takes", "dprd ablate table1 --dry-run"),
        ("the paper's Table 2 on your data, two seeds", "dprd ablate table2 --data DATA --seeds 0,1"),
        ("what the parts cost in time and memory", "dprd ablate table2 --cost-only"),
        ("offsets of a trained detector at test", "dprd ablate offsets --weights runs/a"),
    ),
    "benchmark": (
        ("detecting, against torchvision", "dprd benchmark inference"),
        ("training, on a GPU", "dprd benchmark train --device cuda --batch-size 4"),
        ("everything, as Markdown", "dprd benchmark all --markdown"),
    ),
    "export": (
        ("the newest run as detector.onnx", "dprd export --out detector.onnx"),
        ("of one size, compared with PyTorch", "dprd export --image-size 800x1216 --check photo.jpg"),
        ("for torch.export", "dprd export --weights demo --format torch-export"),
    ),
    "report": (
        ("the newest run", "dprd report"),
        ("two runs on one page", "dprd report runs/a runs/b --out compared.html"),
        ("from the files alone, without measuring", "dprd report runs/a --no-eval"),
    ),
    "parity": (
        ("compare with numbers that Detectron2 wrote", "dprd parity fixture.json"),
        ("for a script", "dprd parity fixture.json --json"),
    ),
    "info": (
        ("the paper's detector", "dprd info --preset cascade-dprd --backbone r101"),
        ("a checkpoint", "dprd info --weights runs/a"),
        ("without parts, on smaller images", "dprd info --preset cascade-mrcnn --image-size 480x640"),
    ),
    "env": (
        ("for a bug report", "dprd env"),
        ("for a script", "dprd env --json"),
    ),
    "config": (
        ("all values of a preset, with where they come from", "dprd config show dprd"),
        ("what distinguishes two runs", "dprd config diff runs/a runs/b"),
    ),
    "config show": (
        ("the default", "dprd config show"),
        ("what a training would have", "dprd config show dprd --schedule 1x --set train.lr=0.01"),
        ("as a file for dprd train --config", "dprd config show runs/a --changed > mine.toml"),
    ),
    "config diff": (
        ("two presets", "dprd config diff cascade-mrcnn cascade-dprd"),
        ("a run against its own preset and schedule", "dprd config diff runs/a"),
    ),
    "config schema": (
        ("for an editor that completes TOML", "dprd config schema > dprd.schema.json"),
        ("for a script", "dprd config schema --json --quiet"),
    ),
    "data": (
        ("is everything readable and where it should be?", "dprd data check DATA"),
        ("what training sees", "dprd data show DATA"),
        ("classes, sizes, shapes", "dprd data stats DATA --out plots"),
    ),
    "data check": (
        ("annotations, files, every pixel", "dprd data check DATA"),
        ("on four cores, and leave bad images out", "dprd data check DATA --workers 4 --on-bad-image skip"),
    ),
    "data show": (
        ("twelve training images, annotated and augmented", "dprd data show DATA"),
        ("held-out ones", "dprd data show DATA --split val --limit 30 --out shown"),
    ),
    "data stats": (
        ("numbers", "dprd data stats DATA"),
        ("with plots, for another schedule's image sizes", "dprd data stats DATA --schedule 1x --out plots"),
    ),
    "data split": (
        ("a fifth of the images for evaluation", "dprd data split DATA divided"),
        (
            "frames of one video stay together: their names are alike up to the _",
            "dprd data split DATA divided --val 0.1 --test 0.1 --group-by '(.*)_'",
        ),
    ),
    "data convert": (
        ("from any format to YOLO's", "dprd data convert DATA yolo --to yolo"),
        ("to COCO's, without copying images", "dprd data convert DATA coco --to coco --images link"),
    ),
    "data synth": (
        ("the built-in figures as files", "dprd data synth figures"),
        ("a small set of signposts", "dprd data synth signs --kind signpost --train 256 --val 64"),
    ),
    "weights": (
        ("what there is", "dprd weights list"),
        ("download, and then use", "dprd weights fetch torchvision:maskrcnn_resnet50_fpn"),
    ),
    "weights list": (
        ("names for --weights and --backbone-weights", "dprd weights list"),
        ("for a script", "dprd weights list --json"),
    ),
    "weights fetch": (
        ("a detector", "dprd weights fetch torchvision:maskrcnn_resnet50_fpn"),
        ("a backbone from ImageNet", "dprd weights fetch imagenet --backbone r101"),
    ),
    "weights pack": (
        ("a run, with its card and images", "dprd weights pack runs/a packed --license cc-by-4.0"),
        ("without images of the data", "dprd weights pack runs/a packed --no-images"),
    ),
    "weights push": (
        ("what would be sent", "dprd weights push packed ORG/NAME --dry-run"),
        ("publish it", "dprd weights push packed ORG/NAME --private"),
    ),
    "weights show": (
        ("what is in a file", "dprd weights show model_final.pkl"),
        ("which tensor becomes which", "dprd weights show runs/a --keys"),
    ),
}
