"""The `dprd` program: the typer app, and the one place where errors become lines and exit codes."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dprd_cli.commands._help import ABOUT, FILES, LEARN, LOOK, CommandApp
from dprd_cli.commands.ablate import ablate
from dprd_cli.commands.benchmark import benchmark
from dprd_cli.commands.config import config_app
from dprd_cli.commands.data import data_app
from dprd_cli.commands.env import env
from dprd_cli.commands.eval import evaluate
from dprd_cli.commands.export import export
from dprd_cli.commands.gradcam import gradcam
from dprd_cli.commands.info import info
from dprd_cli.commands.parity import parity
from dprd_cli.commands.predict import predict
from dprd_cli.commands.report import report
from dprd_cli.commands.train import train
from dprd_cli.commands.visualize_parts import visualize_parts
from dprd_cli.commands.weights import weights_app
from dprd_cli.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_RESOURCES,
    DprdWarning,
    UsageError,
    UserError,
    is_out_of_memory,
)
from dprd_cli.runtime.progress import LOGGER, detail, lines_on_stderr, tell
from dprd_cli.runtime.ranks import rank, world_size
from dprd_cli.version import __version__

#: Commands that the processes of a job can do together.
_SHARED = ("train", "eval", "predict")
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of <malloc.h>
EXIT_PIPE = 141  # as a shell shows a program that SIGPIPE ended
_MEMORY_ADVICE = (
    "use a smaller --batch-size, a smaller --backbone, or smaller images (--set data.test_min_size=...)"
)

app = CommandApp(name="dprd")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"dprd {__version__}")
        raise typer.Exit


def _telling(level: int, *names: str, help: str) -> Any:
    """Return a flag that sets how much is told."""

    def heed(asked: bool) -> None:
        if asked:
            LOGGER.setLevel(level)

    return typer.Option(*names, callback=heed, expose_value=False, is_eager=True, help=help)


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[
        bool,
        _telling(
            logging.DEBUG, "--verbose", "-v", help="Tell more: how things are done, and how long they take."
        ),
    ] = False,
    quiet: Annotated[
        bool, _telling(logging.ERROR, "--quiet", "-q", help="Tell nothing but errors and the result.")
    ] = False,
) -> None:
    """Cascade D-PRD: detect and segment objects by parts that deform (Bae, AAAI 2022)."""
    command = context.invoked_subcommand
    if world_size() > 1 and command not in _SHARED:
        raise UsageError(f"dprd {command} is for one process; in several run: {', '.join(_SHARED)}")


for _name, _panel, _function, _about in (
    ("train", LEARN, train, "Train a detector."),
    ("eval", LEARN, evaluate, "Measure a detector with COCO's metrics."),
    ("report", LEARN, report, "Write one HTML page about runs."),
    ("ablate", LEARN, ablate, "Reproduce the paper's tables and figures."),
    ("predict", LOOK, predict, "Detect objects in images and videos."),
    ("visualize-parts", LOOK, visualize_parts, "Draw the parts and how they deform."),
    ("gradcam", LOOK, gradcam, "Show what class scores come from (Grad-CAM)."),
    ("export", LOOK, export, "Write an ONNX or torch.export file."),
    ("info", ABOUT, info, "Count parameters and MACs by module."),
    ("benchmark", ABOUT, benchmark, "Time this program against others."),
    ("parity", ABOUT, parity, "Compare with Detectron2's own numbers."),
    ("env", ABOUT, env, "Describe this installation, for bug reports."),
):
    app.command(_name, rich_help_panel=_panel, short_help=_about)(_function)
for _name, _panel, _inner, _about in (
    ("data", FILES, data_app, "Check, show, measure, divide, convert and write data sets."),
    ("weights", FILES, weights_app, "List, fetch and inspect published weights."),
    ("config", FILES, config_app, "Show, compare and document configurations."),
):
    app.add_typer(_inner, name=_name, rich_help_panel=_panel, short_help=_about)


def share_cores() -> None:
    """Let OpenMP threads that wait for one another sleep soon, in this process and those that it starts.

    By default they spin for milliseconds, and where another process wants the same cores, each of the
    thousands of waits in a training step costs a time slice (docs/performance.md). Must be called before
    torch is imported; what the environment says already stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def keep_memory() -> None:
    """Let this process keep the memory that tensors leave for the next ones, where the C library is GNU's.

    By default it hands what is large back to the system and asks for it again, page by page, at every image
    (docs/performance.md). What the environment says of it already stands.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUN")) for name in os.environ):
        return
    import ctypes

    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    set_option(_MMAP_MAX, 0)
    set_option(_TRIM_THRESHOLD, -1)


def run(arguments: Sequence[str | os.PathLike[str]] | None = None) -> int:
    """Run the program and return its exit code; every error becomes a line on stderr.

    Args:
        arguments: The command line without the program's name, texts and paths; the process's by default.
    """
    with warnings.catch_warnings(), lines_on_stderr():
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", DprdWarning)
        started = time.monotonic()
        try:
            given = [os.fspath(one) for one in (sys.argv[1:] if arguments is None else arguments)]
            app(args=given, prog_name="dprd", obj=given)  # `--gpus` starts the same line again
        except SystemExit as leave:
            if _was_interrupted(leave):  # typer ends without a word
                tell("error: interrupted")
            return leave.code if isinstance(leave.code, int) else EXIT_FAILED if leave.code else 0
        except BaseException as error:
            return _end(error)
        finally:
            detail(f"took {time.monotonic() - started:.1f} s")
    return 0


def _end(error: BaseException) -> int:
    """Say what an error means, and return its exit code."""
    if _is_unheard(error):
        return EXIT_PIPE
    if os.environ.get("DPRD_DEBUG"):
        traceback.print_exception(error)
    message, code = _explain(error)
    tell(f"error: {_who()}{message}")
    return code


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an exception comes from Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_unheard(error: BaseException) -> bool:
    """Whether stdout leads nowhere any more: `| head` has read what it wanted, or the terminal is gone."""
    gone = isinstance(error, OSError) and error.errno == errno.EIO and error.filename is None
    return gone or isinstance(error, BrokenPipeError)


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the line that an error gets, and its exit code."""
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", EXIT_INTERRUPTED
    text = " ".join(str(error).split())
    if is_out_of_memory(error):
        return f"out of memory; {_MEMORY_ADVICE}", EXIT_RESOURCES
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{error.filename or 'disk'}: no space left; free some, or choose another folder",
            EXIT_RESOURCES,
        )
    if isinstance(error, OSError) and error.filename is not None:  # it is the system that refuses
        return f"{error.filename}: {error.strerror}; check the path and its rights", EXIT_FAILED
    if isinstance(error, RuntimeError) and "home directory" in text:
        return "this user has no home folder; set HOME", EXIT_FAILED
    name = type(error).__name__
    return f"{name}: {text}; this is a bug; rerun with DPRD_DEBUG=1 for the traceback", EXIT_FAILED


def _show_warning(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    """Print this project's warnings as a line; other libraries' concern developers."""
    own = issubclass(category, DprdWarning) and LOGGER.isEnabledFor(logging.WARNING)
    if own or LOGGER.isEnabledFor(logging.DEBUG) or os.environ.get("DPRD_DEBUG"):
        tell(f"warning: {_who()}{message}")


def _who() -> str:
    """Return which of a job's processes this is, where there are several."""
    return f"rank {rank()}: " if world_size() > 1 else ""


def open_standard_streams() -> None:
    """Give streams that the parent has closed a place to go to: no file may take their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def escape_what_cannot_be_shown() -> None:
    """Write characters that the terminal, or Windows' encoding of a pipe, has not as numbers in hex."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the program as a process."""
    open_standard_streams()
    escape_what_cannot_be_shown()
    share_cores()
    keep_memory()
    code = run()
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter's own last flush would complain
        code = code or _end(error)
    sys.exit(code)
