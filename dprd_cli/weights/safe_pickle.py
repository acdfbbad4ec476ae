"""Reads pickles of numpy arrays and plain containers, and nothing else: no code in a file is ever run.

Detectron2's model zoo publishes its weights as pickles.
"""

from __future__ import annotations

import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from dprd_cli.errors import UserError


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Return bytes that a protocol-2 pickle stored as text; only the encoding that pickle writes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"_codecs.encode with {encoding}")
    return text.encode(encoding)


def _admitted() -> dict[tuple[str, str], Any]:
    constructors: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        constructors[module, "_reconstruct"] = np.empty(0).__reduce__()[0]
        constructors[module, "scalar"] = np.float32(0).__reduce__()[0]
    for module in ("numpy.core.numeric", "numpy._core.numeric"):  # protocol 5
        constructors[module, "_frombuffer"] = np.empty(1).__reduce_ex__(5)[0]
    for module in ("__builtin__", "builtins"):
        constructors |= {(module, "set"): set, (module, "frozenset"): frozenset}
    return constructors


class _Reader(pickle.Unpickler):
    _constructors = _admitted()

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return self._constructors[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused: {module_name}.{global_name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("refused: a persistent id")


def _check_memo(path: Path) -> None:
    """Refuse a memo index larger than the file: a few bytes would allocate gigabytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name.endswith("PUT") and int(argument or 0) > size:
                raise pickle.UnpicklingError("a memo index beyond the file")


def read_numpy_pickle(path: Path) -> Any:
    """Read a pickle that holds numpy arrays and plain containers.

    Raises:
        UserError: One line, if it holds anything else, is broken, or cannot be read.
    """
    try:
        _check_memo(path)
        with path.open("rb") as file:
            return _Reader(file, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"{path}: cannot read the weights ({error.strerror})") from error
    except pickle.UnpicklingError as error:
        if "refused" in str(error):
            what = str(error).removeprefix("refused: ")
            raise UserError(f"{path}: contains pickled code ({what}); refused") from error
        raise UserError(f"{path}: not a pickle of weights, or truncated") from error
    except Exception as error:  # whatever a broken file makes pickle and numpy stumble over
        raise UserError(f"{path}: not a pickle of weights, or truncated") from error
