"""What a bug report needs to know of this machine and installation, without saying whose it is."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
import torchvision

import dprd_cli
from dprd_cli.runtime.cores import available_cores
from dprd_cli.runtime.memory import total_memory
from dprd_cli.runtime.precision import PrecisionChoice, choose_precision
from dprd_cli.version import __version__

#: Packages whose versions are told: what the project depends on, then what it uses where it is installed.
REQUIRED = (
    "torch",
    "torchvision",
    "typer",
    "rich",
    "pydantic",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "matplotlib",
    "grad-cam",
    "pycocotools",
    "faster-coco-eval",
    "safetensors",
    "pyyaml",
)
OPTIONAL = ("opencv-python", "supervision", "tensorboard", "wandb", "onnx", "onnxruntime")
#: Environment variables that change what the program does.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "DPRD_DEBUG",
    "GLIBC_TUNABLES",
    "GOMP_SPINCOUNT",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_HOME",
    "XDG_CACHE_HOME",
)
#: Those of them that hold a path, of which only the part below the home folder is told.
_PATHS = ("TORCH_HOME", "XDG_CACHE_HOME")


@dataclass(frozen=True, slots=True)
class Device:
    """A CUDA device.

    Args:
        name: The model.
        memory_gib: All its memory.
        capability: Compute capability, such as 9.0.
    """

    name: str
    memory_gib: float
    capability: str


@dataclass(frozen=True, slots=True)
class Environment:
    """An installation on a machine.

    Args:
        dprd: Version of this project.
        installed: `checkout`, `editable checkout` or `package`.
        commit: Commit of the checkout, or of the repository that pip installed from; None where there is
            none.
        changed: Whether files of the checkout differ from the commit; None where that cannot be told.
        python: Version and implementation.
        system: Operating system and processor family.
        cpus: Cores that this process may use.
        memory_gib: All memory of the machine, None where it cannot be told.
        device: What `--device auto` takes; None where PyTorch does not work.
        precision: What `--precision auto` takes there, why, and what the CPU has for bfloat16; None without.
        devices: CUDA devices.
        cuda: CUDA version that PyTorch was built for, None on builds for the CPU.
        cudnn: Version of cuDNN, None without.
        threads: PyTorch's threads: within an operation (`intra-op`) and for several at a time (`inter-op`).
        packages: Name -> version, None where a required one is missing.
        variables: Environment variables that are set.
        problems: What is wrong with the installation, a line each.
    """

    dprd: str
    installed: str
    commit: str | None
    changed: bool | None
    python: str
    system: str
    cpus: int
    memory_gib: float | None
    device: str | None
    precision: PrecisionChoice | None
    devices: list[Device]
    cuda: str | None
    cudnn: int | None
    threads: dict[str, int]
    packages: dict[str, str | None]
    variables: dict[str, str]
    problems: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-serialisable containers."""
        return asdict(self)


def describe_environment() -> Environment:
    """Look at this installation; a broken one is described, never an error."""
    packages = {name: found for name in REQUIRED + OPTIONAL if (found := _version(name)) or name in REQUIRED}
    problems = _package_problems(packages)
    commit, changed = source_commit()
    return Environment(
        dprd=dprd_cli.__version__,
        installed=_installed(),
        commit=commit,
        changed=changed,
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpus=available_cores(),
        memory_gib=_memory_gib(),
        **_torch(problems),
        packages=packages,
        variables={name: _variable(name) for name in VARIABLES if name in os.environ},
        problems=problems,
    )


def without_home(path: Path) -> str:
    """Return a path with `~` for the home folder; of one elsewhere, the last part alone."""
    try:
        return f"~/{path.resolve().relative_to(Path.home().resolve()).as_posix()}"
    except (ValueError, RuntimeError):  # elsewhere; or a user without a home
        return f".../{path.name}"


def _package_problems(packages: dict[str, str | None]) -> list[str]:
    missing = [name for name, found in packages.items() if not found]
    problems = [f"not installed: {', '.join(missing)}; install dprd-cli again"] if missing else []
    if {"opencv-python", "opencv-python-headless"} <= packages.keys():
        problems.append(
            "opencv-python and opencv-python-headless write the same cv2/: uninstall both, then install "
            "opencv-python-headless"
        )
    return problems


def _torch(problems: list[str]) -> dict[str, Any]:
    """Return what PyTorch says; if it cannot be imported, that is a problem."""
    found: dict[str, Any] = {"device": None, "precision": None, "devices": [], "cuda": None, "cudnn": None}
    found["threads"] = {}
    try:
        import torch
    except Exception as error:  # a broken installation may raise anything
        problems.append(f"PyTorch cannot be imported: {_line(error)}")
        return found
    try:
        import torchvision  # noqa: F401
    except Exception as error:
        problems.append(
            f"torchvision cannot be imported: {_line(error)}; it must be built for torch {torch.__version__}"
        )
    try:
        devices = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    except Exception as error:
        devices = []
        problems.append(f"CUDA does not work: {_line(error)}")
    threads = {"intra-op": torch.get_num_threads(), "inter-op": torch.get_num_interop_threads()}
    return found | {
        "device": "cuda" if devices else "cpu",
        "precision": choose_precision("auto", torch.device("cuda" if devices else "cpu")),
        "devices": [
            Device(one.name, round(one.total_memory / 2**30, 1), f"{one.major}.{one.minor}")
            for one in devices
        ],
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if devices else None,  # type: ignore[no-untyped-call]
        "threads": threads,
    }


def _installed() -> str:
    if not _checkout():
        return "package"
    return "editable checkout" if _direct_url().get("dir_info", {}).get("editable") else "checkout"


def _checkout() -> Path | None:
    """Return the folder of the checkout that this package runs from, or None."""
    folder = Path(dprd_cli.__file__).resolve().parents[1]
    return folder if (folder / ".git").exists() and (folder / "pyproject.toml").is_file() else None


def source_commit() -> tuple[str | None, bool | None]:
    """Return the commit that runs, and whether files were changed since; None where that cannot be told."""
    folder = _checkout()
    if folder is None:
        return _direct_url().get("vcs_info", {}).get("commit_id"), None
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "-uno")
    return commit or None, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints; None where it cannot be run or refuses."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _direct_url() -> dict[str, Any]:
    """Return where pip installed this project from (PEP 610), where that was no package index."""
    try:
        content = json.loads(distribution("dprd-cli").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _version(package: str) -> str | None:
    try:
        return distribution(package).version
    except PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    total = total_memory()
    return total and round(total / 2**30, 1)


def _variable(name: str) -> str:
    value = os.environ[name]
    return without_home(Path(value)) if name in _PATHS and value else value


def _line(error: Exception) -> str:
    """Return an error in one line; messages of the dynamic linker hold whole paths."""
    line = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"(?<![\w.~:/-])/[\w.+/-]*/(?=[\w.+-]+)", ".../", line)


@dataclass(frozen=True, slots=True)
class RunEnvironment:
    """What a run ran on, for its `environment.json`.

    Args:
        dprd: Version of this project.
        commit: Commit that ran, with `-dirty` where files were changed since; None where there is none.
        command: The command line.
        python: Version.
        platform: Operating system and processor family.
        torch: Version.
        torchvision: Version.
        device: The GPU's model, `cpu` or `mps`.
        cores: Cores that the process might use.
        threads: PyTorch's threads within an operation.
    """

    dprd: str
    commit: str | None
    command: str
    python: str
    platform: str
    torch: str
    torchvision: str
    device: str
    cores: int
    threads: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-serialisable containers."""
        return asdict(self)


def describe_run_environment(device: torch.device) -> RunEnvironment:
    """Return what runs here, on a device, by this process's command line."""
    commit, changed = source_commit()
    return RunEnvironment(
        dprd=__version__,
        commit=f"{commit}-dirty" if commit and changed else commit,
        command=shlex.join(["dprd", *sys.argv[1:]]),
        python=platform.python_version(),
        platform=platform.platform(),
        torch=torch.__version__,
        torchvision=torchvision.__version__,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        cores=available_cores(),
        threads=torch.get_num_threads(),
    )
