"""`dprd benchmark`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dprd_cli.commands import _complete
from dprd_cli.commands._help import MACHINE, MEASURE, OUTPUT
from dprd_cli.commands._options import DEVICES, PRECISIONS, Json, parse_size, print_json, progress, say

if TYPE_CHECKING:
    from dprd_cli.benchmark.measure import BenchmarkReport
    from dprd_cli.benchmark.table import BenchmarkSettings


def benchmark(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="inference, train, roialign, eval, paste, startup, predict, check or all of these.",
        ),
    ],
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="NAME",
            help="For inference and train: torchvision, detectron2, mask-rcnn or another preset.",
            rich_help_panel=MEASURE,
        ),
    ] = "torchvision",
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="What is compared with mask-rcnn or another preset.",
            rich_help_panel=MEASURE,
        ),
    ] = "dprd",
    image_size: Annotated[
        str,
        typer.Option(
            "--image-size",
            metavar="HxW",
            help="Image size; by default 800x1216, for train 512x640, for startup, predict, check 480x640.",
            rich_help_panel=MEASURE,
        ),
    ] = "",
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            min=1,
            help="Images at a time; by default 1, for train 2.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    proposals: Annotated[
        int | None,
        typer.Option(
            "--proposals",
            metavar="N",
            min=1,
            help="RoIs; by default 1000 of the box branch, 2048 for roialign.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            metavar="N",
            min=1,
            help="Generated images, 5000 for eval and check, 1000 for predict, by default.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    folder: Annotated[
        str,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="In their place: for predict your images, all or --images of them; for check a data set.",
            rich_help_panel=MEASURE,
        ),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            metavar="NAME",
            help="For predict: the detector; demo by default.",
            rich_help_panel=MEASURE,
        ),
    ] = "",
    repetitions: Annotated[
        int | None,
        typer.Option(
            "--repetitions",
            metavar="N",
            min=1,
            help="Timed turns after one to warm up; medians are shown. By default 5, for eval and check 3, "
            "for predict 1.",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            help="CPU threads; torch's choice by default.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME",
            autocompletion=_complete.among(*DEVICES),
            help="auto, cpu, cuda or mps (Apple's GPU).",
            rich_help_panel=MACHINE,
        ),
    ] = "cpu",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile this project's backbone and neck (needs a C++ compiler).",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="NAME",
            autocompletion=_complete.among(*PRECISIONS),
            help="Of inference and train: fp32, bf16 (the other program too, and in float32), or auto: what "
            "is faster here.",
            rich_help_panel=MACHINE,
        ),
    ] = "fp32",
    profiled: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Of inference and train: where the processor time of --preset goes, by groups of operators; "
            "of training on the built-in data, from its 11th step on.",
            rich_help_panel=MEASURE,
        ),
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown tables.", rich_help_panel=OUTPUT)
    ] = False,
    json: Json = False,
) -> None:
    """Time this program against others, in turns, on the same weights and images, and check the answers."""
    import torch

    from dprd_cli.benchmark import table
    from dprd_cli.benchmark.machine import describe_machine
    from dprd_cli.config.presets import pick
    from dprd_cli.runtime.device import pick_device
    from dprd_cli.runtime.precision import choose_precision

    pick("benchmark", kind, (*table.KINDS, "all"))
    size = parse_size(image_size) if image_size else None
    place = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    decided = choose_precision(precision, place).name
    settings = table.BenchmarkSettings(
        against=against,
        preset=preset,
        image_size=size,
        batch=batch_size,
        proposals=proposals,
        images=images,
        repetitions=repetitions,
        device=place,
        compiled=compiled,
        precision=decided,
        profiled=profiled,
        weights=weights,
        folder=folder,
    )
    table.check(kind, settings)
    if profiled:
        _profile(kind, settings, as_json=json, as_markdown=markdown)
        return
    missing: list[str] = []
    with progress(kind, "calls") as show:
        if kind == "all":
            reports, missing = table.run_all(settings, show, say)
        else:
            reports = [table.run(kind, settings, show)]
    machine = describe_machine(place)
    if json:
        found = [report.to_json() for report in reports]
        more = {"reports": found, "missing": missing} if kind == "all" else found[0]
        print_json({"machine": machine.to_json(), **more})
    elif markdown:
        typer.echo(table.markdown(reports, missing, machine), nl=False)
    else:
        for report in reports:
            _print(report)
        typer.echo(f"{machine.date}, {machine.processor}, {machine.device}, {machine.software}")


def _profile(kind: str, settings: BenchmarkSettings, *, as_json: bool, as_markdown: bool) -> None:
    """Measure and print a profile."""
    from dprd_cli.benchmark.machine import describe_machine
    from dprd_cli.benchmark.table import profile, profile_markdown
    from dprd_cli.commands._tables import print_rows

    with progress(kind, "steps") as show:
        report = profile(kind, settings, show)
    machine = describe_machine(settings.device)
    if as_json:
        print_json({"machine": machine.to_json(), **report.to_json()})
    elif as_markdown:
        typer.echo(profile_markdown(report, machine), nl=False)
    else:
        columns = ("processor s", "%", "operators", "GMAC/s")
        print_rows(report.name, columns, [*report.rows(), report.total()])
        typer.echo(f"{machine.date}, {machine.processor}, {machine.software}")


def _print(report: BenchmarkReport) -> None:
    from dprd_cli.benchmark.table import show
    from dprd_cli.commands._tables import print_rows

    programs: list[tuple[str, ...]] = [
        (
            name,
            f"{timing.median:.3g}",
            f"{min(timing.seconds):.3g}",
            f"{max(timing.seconds):.3g}",
            "" if timing.processor_median is None else f"{timing.processor_median:.3g}",
            _cell(timing.memory, 1e6),
            _cell(timing.macs, 1e9),
            _cell(timing.rate, 1e9),
        )
        for name, timing in report.timings.items()
    ]
    columns = ("median s", "min", "max", "processor s", "peak MB", "GMAC", "GMAC/s")
    print_rows(report.name, columns, programs)
    asked: list[tuple[str, ...]] = [
        (name, str(work.launches), str(work.waits), f"{work.macs / 1e9:.1f}")
        for name, timing in report.timings.items()
        if (work := timing.work) is not None
    ]
    if asked:
        print_rows("asked of a GPU", ("launches", "waits", "GMAC"), asked)
    rows: list[tuple[str, ...]] = [
        (
            f"{row.what}, against {row.against}",
            show(row.value, row.unit),
            f"{'>=' if row.at_least else '<='} {show(row.target, row.unit)}",
            "met" if row.met else "missed",
        )
        for row in report.rows
    ]
    print_rows("", ("measured", "target", ""), rows)
    verdict = {True: "the same answers: ", False: "DIFFERENT ANSWERS: ", None: ""}[report.same]
    typer.echo(f"{verdict}{report.answers}")


def _cell(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.0f}"
