"""Command lines with odd values, drawn from a `random.Random`."""

from command_tree import LEAVES
from paths import TINY
from security.mutations import ESCAPE, words

#: Command lines that are sound and soon done; `{...}` is a file of the folder that `write_files` fills.
SOUND = {
    "train": [
        "--config",
        str(TINY),
        "--data",
        "data",
        "--steps",
        "1",
        "--set",
        "model.backbone.weights=none",
    ],
    "eval": ["--weights", "tiny.pt", "--data", "data", "--no-plots", "--limit", "1"],
    "predict": ["a.png", "--weights", "tiny.pt"],
    "visualize-parts": ["a.png", "--weights", "tiny.pt"],
    "gradcam": ["a.png", "--weights", "tiny.pt"],
    "ablate": ["table1", "--dry-run", "--config", str(TINY)],
    "benchmark": ["--list"],
    "export": ["tiny.pt", "--image-size", "64x64", "--format", "nothing"],
    "report": ["run", "--no-eval"],
    "parity": ["--help"],
    "info": ["--preset", "mask-rcnn-small", "--image-size", "64x64"],
    "env": [],
    "config show": ["--changed"],
    "config diff": ["dprd", "mask-rcnn"],
    "config schema": [],
    "data check": ["data", "--workers", "0"],
    "data show": ["data", "--limit", "1"],
    "data stats": ["data"],
    "data convert": ["data", "converted", "--to", "voc"],
    "data synth": ["made", "--train", "1", "--val", "1", "--size", "64"],
    "weights list": [],
    "weights fetch": ["nothing"],
    "weights show": ["tiny.pt"],
}
ODD = [
    "",
    " ",
    "\0",
    "x\0y",
    "\udc80\udcff",
    ESCAPE,
    "x" * 300,
    "x" * 5000,
    "9" * 5000,
    "data.path=" + "x" * 5000,
]
TEXTS = [*ODD, str(2**31), str(2**63), str(2**64)]
TEXTS += words(
    """
    [/red] é ² ٣ - -- @ @nothing = a=b /dev/null /dev/full /proc/self/mem a.png/x . data nan inf -inf
    1e400 -1 0 1.5 1_0 0x10 a.png tiny.pt broken.pt data.yaml mine.toml run demo imagenet none synthetic
    auto cuda cuda:99 cpu 64x64 99999x99999 0x0 1/0 ²/² 2/1 1/1 webcam:0 webcam:999 http://[::1
    http://127.0.0.1:1/a.png * [ **/* data.limit=1 data.limit data.limit=[ train.lr=nan =1
    data.max_pixels=1 model.x=1 data.train_min_sizes=[] val test-dev all detectron2:x
    detectron2:MSRA/R-50 torchvision: 0,1,² 1,1 images,,csv table9
    """
)


def command_line(rng):
    """Return a command line: a sound one, of which one to three values are odd."""
    name = rng.choice((*SOUND,))
    argv = [*name.split(), *SOUND[name]]
    known = [one for one in PARAMETERS[name] if one.opts[0] not in ("--help", "--gpus")]
    for _ in range(rng.randint(1, 3)):
        one = rng.choice(known) if known and rng.random() < 0.7 else None
        if one is None:
            at = rng.randrange(len(name.split()), len(argv) + 1)
            argv[at : at + rng.randrange(2)] = [rng.choice(TEXTS)]
        elif one.param_type_name == "argument":
            argv.append(rng.choice(TEXTS))
        elif getattr(one, "is_flag", False):
            argv.append(rng.choice(one.opts))
        else:
            argv += [rng.choice(one.opts), rng.choice(TEXTS)]
    return argv


PARAMETERS = {words: command.params for words, command in LEAVES.items()}
