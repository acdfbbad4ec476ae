import errno
import os
import platform
import pwd
import subprocess
import sys
import warnings

import pytest

from dprd_cli import __version__, cli
from dprd_cli.errors import DataError, DivergedError, DprdWarning, ResourceError, UsageError, UserError
from paths import TINY

COMMANDS = ("train", "eval", "predict", "visualize-parts", "info", "data")


def fails_with(monkeypatch, error):
    def app(**_):
        raise error

    monkeypatch.setattr(cli, "app", app)


def test_help_lists_every_command(capsys):
    assert cli.run(["--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: dprd [OPTIONS] COMMAND [ARGS]...")
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert err == ""


@pytest.mark.parametrize("command", [*COMMANDS, "data synth"])
def test_every_command_has_help(capsys, command):
    assert cli.run([*command.split(), "-h"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: dprd {command} ")


def test_help_imports_nothing_heavy():
    heavy = ("torch", "torchvision", "numpy", "pydantic", "matplotlib", "cv2", "PIL")
    code = (
        "import sys, dprd_cli.cli as cli; code = cli.run(['--help']); "
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"dprd {__version__}\n"


def test_paths_are_arguments_too(capsys):
    assert cli.run(["config", "show", TINY, "--changed"]) == 0
    assert "[model" in capsys.readouterr().out


def test_python_m_is_the_same_program():
    command = [sys.executable, "-m", "dprd_cli", "--version"]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"dprd {__version__}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "no command 'trian'; did you mean train?"),
        (["data", "x"], "no command 'x'; see `dprd data --help`"),
        (["train", "--no-such-flag"], "no option --no-such-flag; see `dprd train --help`"),
        (["train", "--bach-size", "2"], "no option --bach-size; did you mean --batch-size?"),
        (["train", "--steps", "many"], "--steps: expected a valid integer; see `dprd train --help`"),
        (["train", "--steps"], "option '--steps' requires an argument; see `dprd train --help`"),
        (["parity"], "FIXTURE.json is missing; see `dprd parity --help`"),
        (["env", "all"], "got unexpected extra argument(s) (all); see `dprd env --help`"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_2(capsys, arguments, line):
    assert cli.run(arguments) == 2
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a plain one"), 1, "a plain one"),
        (UsageError("a flag"), 2, "a flag"),
        (DataError("a file"), 3, "a file"),
        (DivergedError("a loss"), 4, "a loss"),
        (ResourceError("a disk"), 5, "a disk"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            OSError(errno.EIO, "Input/output error", "/data/x"),
            1,
            "/data/x: Input/output error; check the path and its rights",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x.png"),
            5,
            "/data/x.png: no space left; free some, or choose another folder",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/home/me/.bashrc"),
            1,
            "/home/me/.bashrc: Permission denied; check the path and its rights",
        ),
        (
            RuntimeError("Could not determine home directory."),
            1,
            "this user has no home folder; set HOME",
        ),
        (
            ValueError("shapes\n  differ"),
            1,
            "ValueError: shapes differ; this is a bug; rerun with DPRD_DEBUG=1 for the traceback",
        ),
    ],
)
def test_every_error_is_one_line_with_its_code(monkeypatch, capsys, error, code, line):
    fails_with(monkeypatch, error)
    assert cli.run([]) == code
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 99 bytes"),
    ],
)
def test_no_memory_left_gets_advice(monkeypatch, capsys, error):
    fails_with(monkeypatch, error)
    assert cli.run([]) == 5
    assert capsys.readouterr().err == (
        "error: out of memory; use a smaller --batch-size, a smaller --backbone, "
        "or smaller images (--set data.test_min_size=...)\n"
    )


def test_only_ctrl_c_is_called_an_interruption(monkeypatch, capsys):
    fails_with(monkeypatch, SystemExit(130))  # of a job's other processes, where the main one says why
    assert cli.run([]) == 130
    assert capsys.readouterr().err == ""

    def interrupted(**_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(130)  # as typer does

    monkeypatch.setattr(cli, "app", interrupted)
    assert cli.run([]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.EIO, "Input/output error")])
def test_an_output_that_nobody_reads_is_no_error(monkeypatch, capsys, error):
    fails_with(monkeypatch, error)
    assert cli.run([]) == 141
    assert capsys.readouterr().err == ""


def test_an_output_that_is_full_is_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "dprd_cli", "--version"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        5,
        "error: disk: no space left; free some, or choose another folder\n",
    )


def test_completion_needs_a_home(monkeypatch, capsys):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # none may run the tests
    assert cli.run(["--install-completion", "bash"]) == 1
    assert capsys.readouterr().err == "error: this user has no home folder; set HOME\n"


def test_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setenv("DPRD_DEBUG", "1")
    fails_with(monkeypatch, ValueError("deep inside"))
    assert cli.run([]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith(
        "error: ValueError: deep inside; this is a bug; rerun with DPRD_DEBUG=1 for the traceback\n"
    )


def test_own_warnings_are_lines_and_others_are_silent(monkeypatch, capsys):
    def app(**_):
        warnings.warn("one image was skipped", DprdWarning, stacklevel=1)
        warnings.warn("a library's", UserWarning, stacklevel=1)

    monkeypatch.setattr(cli, "app", app)
    assert cli.run([]) == 0
    assert capsys.readouterr().err == "warning: one image was skipped\n"


def test_what_the_output_s_encoding_lacks_is_escaped():
    code = "from dprd_cli import cli; cli.escape_what_cannot_be_shown(); print('± 木')"
    for encoding, shown in (("cp1252", b"\xb1 \\u6728"), ("utf-8", "± 木".encode())):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
        assert done.stdout.strip() == shown


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(("given", "kept"), [({}, True), ({"MALLOC_ARENA_MAX": "4"}, False)])
def test_memory_that_tensors_leave_is_kept_unless_the_environment_says_otherwise(given, kept):
    """A tensor of 200 MB asks the system for no page where one of 256 MB has been."""
    program = (
        "import resource\n"
        "from dprd_cli.cli import keep_memory\n"
        "keep_memory()\n"
        "import torch\n"
        "def faults(megabytes):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    torch.ones(megabytes << 18)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "faults(256)\n"
        "print(faults(200))\n"
    )
    said = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=said | given, capture_output=True, check=True, text=True
    )
    assert (int(done.stdout) < 1000) is kept
