"""Options as other programs spell them: taken where they mean the same, else what is meant is said."""

import pytest

from command_tree import LEAVES, flags_of, parse
from dprd_cli import cli
from dprd_cli.config.spellings import ARGUMENT_OPTIONS, NEAR_OPTIONS, SAME_OPTIONS


@pytest.mark.parametrize(
    ("words", "line", "name", "value"),
    [
        ("predict", "a.jpg --conf 0.3", "score_thresh", 0.3),
        ("predict", "a.jpg --conf=0.3", "score_thresh", 0.3),
        ("predict", "--source a.jpg --source b.jpg c.jpg", "inputs", ["a.jpg", "b.jpg", "c.jpg"]),
        ("predict", "--model demo --input=a.jpg", "weights", "demo"),
        ("predict", "a.jpg --vid-stride 5", "frame_step", 5),
        ("predict", "a.jpg --augment", "tta", True),
        ("gradcam", "--image a.jpg", "inputs", ["a.jpg"]),
        ("train", "--learning-rate 0.1 --batch 4", "lr", 0.1),
        ("train", "--learning-rate 0.1 --batch 4", "batch_size", 4),
        ("train", "--num-epochs 3", "epochs", 3.0),
        ("train", "--dataset DATA", "data", "DATA"),
        ("data check", "--data DATA", "path", "DATA"),
        ("data convert", "OUT --data DATA --to yolo", "path", "DATA"),
        ("data synth", "OUT --size 64", "image_size", 64),
        ("export", "--batch 2", "batch_size", "2"),
        ("report", "--weights runs/a", "runs", ["runs/a"]),
        ("config show", "--weights demo", "spec", "demo"),
        ("ablate", "table1 --size small", "size", "small"),  # its own option
        ("predict", "--out x -- --source", "inputs", ["--source"]),
    ],
)
def test_what_means_the_same_is_taken(words, line, name, value):
    assert parse([*words.split(), *line.split()]).params[name] == value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train --imgsz 640", "no option --imgsz; did you mean --image-size (short side at test, pixels)?"),
        ("train --patience 3", "no option --patience; did you mean --set train.patience=10?"),
        ("predict a.jpg --project x", "no option --project; did you mean --out (where the results go)?"),
        ("predict a.jpg --save-txt", "no option --save-txt; did you mean --save yolo?"),
        ("gradcam a.jpg --max-det 3", "did you mean --max-objects (the best so many objects of each image)?"),
        ("eval --scor-thresh 3", "no option --scor-thresh; see `dprd eval --help`"),
    ],
)
def test_what_is_near_is_said(capsys, line, said):
    assert cli.run(line.split()) == 2
    assert said in capsys.readouterr().err


def test_the_tables_name_options_and_arguments_that_exist():
    options = set().union(*map(flags_of, LEAVES.values()))
    assert set(SAME_OPTIONS.values()) <= options
    assert {near.split()[0] for nears in NEAR_OPTIONS.values() for near in nears} <= options
    arguments = {p.name for c in LEAVES.values() for p in c.params if p.param_type_name == "argument"}
    assert {name for names in ARGUMENT_OPTIONS.values() for name in names} <= arguments
