"""D-PRD: Deformable Part Region Learning for Object Detection (Bae, AAAI 2022), as a toolkit.

Importing this package never imports torch; `load`, `train`, `evaluate`, `Model`, `Prediction` and `Tiling` do
when they are first used. `register` takes parts of one's own (docs/extend.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dprd_cli.version import __version__

if TYPE_CHECKING:
    from dprd_cli.api import Model, evaluate, load, train
    from dprd_cli.config import registry as register
    from dprd_cli.inference.prediction import Prediction
    from dprd_cli.inference.tiling import Tiling

__all__ = ["Model", "Prediction", "Tiling", "__version__", "evaluate", "load", "register", "train"]


def __getattr__(name: str) -> Any:
    """Import what the package offers on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'dprd_cli' has no attribute '{name}'")
    if name == "register":
        from dprd_cli.config import registry as value
    else:
        from dprd_cli import api

        value = getattr(api, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
