"""`dprd data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dprd_cli.commands._data_config import DataPath, Schedule, data_config
from dprd_cli.commands._help import DATA, MACHINE, OUTPUT, CommandApp
from dprd_cli.commands._next import say_next
from dprd_cli.commands._options import (
    DataOverrides,
    Json,
    OnBadImage,
    Overwrite,
    Preset,
    print_json,
    progress,
    say,
)

data_app = CommandApp()


@data_app.callback()
def _data() -> None:
    """Check, show, measure, divide, convert and write data sets."""


@data_app.command("check")
def check(
    path: DataPath,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=-1,
            help="Processes that decode images; one for each core by default.",
            rich_help_panel=MACHINE,
        ),
    ] = -1,
    on_bad_image: OnBadImage = None,
    overrides: DataOverrides = None,
    as_json: Json = False,
) -> None:
    """Check both splits: annotations, files, every pixel. Exit code 3 if anything cannot be used."""
    from dprd_cli.commands._data_report import print_checks, verdict
    from dprd_cli.data.check import check_data
    from dprd_cli.errors import DataError

    config = data_config(path, overrides, on_bad_image=on_bad_image)
    with progress("decoding images") as show:
        checks = check_data(config.data, config.model.rpn, workers=workers, progress=show)
    usable, line = verdict(path, checks)
    if as_json:
        print_json({"path": path, "usable": usable, "splits": [one.to_json() for one in checks]})
    else:
        print_checks(checks)
    if not usable:
        raise DataError(line)
    say(line)


@data_app.command("show")
def show(
    path: DataPath,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the images; by default shown, or if that holds something, shown-2, ...",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="train or val.", rich_help_panel=DATA)
    ] = "train",
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", min=1, help="How many images of each kind.", rich_help_panel=DATA
        ),
    ] = 12,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            help="Which images, and of the augmentation; training's is 0.",
            rich_help_panel=DATA,
        ),
    ] = 0,
    schedule: Schedule = None,
    overrides: DataOverrides = None,
    as_json: Json = False,
) -> None:
    """Draw images as annotated, and as training sees them after augmentation."""
    from dprd_cli.config.presets import pick
    from dprd_cli.data.build import build_dataset
    from dprd_cli.data.figures import draw_split
    from dprd_cli.files.output_folder import OutputChoice
    from dprd_cli.structures.sample import SPLITS

    which = pick("split", split, SPLITS)
    config = data_config(path, overrides, schedule).data
    output = OutputChoice(out, overwrite)
    files = draw_split(build_dataset(config, which), which, config, output, limit=limit, seed=seed)
    names = [str(file) for file in files]
    if as_json:
        print_json({"files": names})
    else:
        for name in names:
            say(name)


@data_app.command("stats")
def stats(
    path: DataPath,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for plots; none by default.", rich_help_panel=OUTPUT
        ),
    ] = None,
    overwrite: Overwrite = False,
    preset: Preset = None,
    schedule: Schedule = None,
    overrides: DataOverrides = None,
    as_json: Json = False,
) -> None:
    """Count classes, sizes and shapes, and how well the anchors fit; with --out, plots too."""
    from dprd_cli.commands._data_report import print_statistics
    from dprd_cli.data.statistics import dataset_statistics

    config = data_config(path, overrides, schedule, preset)
    measured = dataset_statistics(config.data, config.model.rpn)
    files: list[Path] = []
    if out is not None:
        from dprd_cli.data.figures import plot_statistics
        from dprd_cli.files.output_folder import OutputChoice

        files = plot_statistics(measured, OutputChoice(out, overwrite))
    if as_json:
        splits = [one.to_json() for one in measured]
        print_json({"path": path, "splits": splits, "files": [str(file) for file in files]})
        return
    print_statistics(measured)
    for file in files:
        say(str(file))


@data_app.command("split")
def split(
    path: DataPath,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    val: Annotated[
        float,
        typer.Option(
            "--val", metavar="SHARE", help="Share of the images for evaluation.", rich_help_panel=DATA
        ),
    ] = 0.2,
    test: Annotated[
        float,
        typer.Option("--test", metavar="SHARE", help="Share that is kept for the end.", rich_help_panel=DATA),
    ] = 0.0,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, help="Another seed gives another division.", rich_help_panel=DATA
        ),
    ] = 0,
    group_by: Annotated[
        str,
        typer.Option(
            "--group-by",
            metavar="PATTERN",
            help="Images whose names match alike stay together.",
            rich_help_panel=DATA,
        ),
    ] = "",
    images: Annotated[
        str,
        typer.Option(
            "--images",
            metavar="link|copy",
            help="A link to the image folder, or a copy.",
            rich_help_panel=OUTPUT,
        ),
    ] = "link",
    overrides: DataOverrides = None,
    as_json: Json = False,
) -> None:
    """Divide a set without splits, by class and reproducibly; the images stay where they are."""
    from dprd_cli.config.presets import pick
    from dprd_cli.data.division import DivisionRule
    from dprd_cli.data.split_files import SPLIT_IMAGES, split_files

    how, rule = pick("choice of --images", images, SPLIT_IMAGES), DivisionRule(val, test, seed, group_by)
    with progress(f"writing {target}") as show:
        summary = split_files(data_config(path, overrides).data, target, rule, images=how, progress=show)
    if as_json:
        print_json({"source": path, "target": str(target), **summary.to_json()})
        return
    for line in summary.lines():
        say(line)
    say_next(["train", "--data", str(target)])


@data_app.command("convert")
def convert(
    path: DataPath,
    target: Annotated[Path, typer.Argument(metavar="DST", help="A new or empty folder.")],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="FORMAT", help="The format to write: coco, voc or yolo.", rich_help_panel=OUTPUT
        ),
    ],
    images: Annotated[
        str,
        typer.Option(
            "--images",
            metavar="copy|link|none",
            help="What to do with the images; links are hard links.",
            rich_help_panel=OUTPUT,
        ),
    ] = "copy",
    overrides: DataOverrides = None,
    as_json: Json = False,
) -> None:
    """Write both splits in another format; what it cannot hold is counted."""
    from dprd_cli.config.presets import pick
    from dprd_cli.data.convert import FORMATS, TRANSFERS
    from dprd_cli.data.convert import convert as write

    kind = pick("format", to, FORMATS)
    transfer = pick("choice of --images", images, TRANSFERS)
    config = data_config(path, overrides).data
    with progress(f"writing {target}") as show:
        summary = write(config, target, kind, images=transfer, progress=show)
    if as_json:
        print_json({"source": path, "target": str(target), "format": to, **summary.to_json()})
        return
    for line in summary.lines():
        say(line)
    say_next(["data", "check", str(target)])


@data_app.command("synth")
def synth(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; must not hold a data set.")],
    train: Annotated[
        int, typer.Option("--train", metavar="N", min=1, help="Training images.", rich_help_panel=DATA)
    ] = 4096,
    val: Annotated[
        int, typer.Option("--val", metavar="N", min=1, help="Held-out images.", rich_help_panel=DATA)
    ] = 256,
    image_size: Annotated[
        int,
        typer.Option(
            "--image-size",
            metavar="PIXELS",
            min=64,
            max=1024,
            help="Side of the images in pixels.",
            rich_help_panel=DATA,
        ),
    ] = 160,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, help="Another seed gives other images.", rich_help_panel=DATA
        ),
    ] = 0,
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="NAME", help="synthetic (jointed figures) or signpost.", rich_help_panel=DATA
        ),
    ] = "synthetic",
    overrides: DataOverrides = None,
    as_json: Json = False,
) -> None:
    """Write the built-in data as COCO json and PNG; `dprd train --data DIR` then takes it like any other."""
    from dprd_cli.config.presets import pick
    from dprd_cli.config.schema import BUILT_IN
    from dprd_cli.data.synthetic.write import write_splits

    kind = pick("kind of built-in data", kind, BUILT_IN)
    flags = {
        "synthetic_size": image_size,
        "synthetic_seed": seed,
        "synthetic_train": train,
        "synthetic_val": val,
    }
    config = data_config(kind, overrides, None, None, **flags)
    counts = {"train": config.data.synthetic_train, "val": config.data.synthetic_val}
    rows = []
    for split, file in write_splits(folder, config.data):
        say(f"{counts[split]} images: {file}")
        rows.append({"split": split, "images": counts[split], "file": str(file)})
    if as_json:
        print_json({"path": str(folder), "splits": rows})
    say_next(["train", "--data", str(folder), "--schedule", "small"])
