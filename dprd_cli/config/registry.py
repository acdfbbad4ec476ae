"""What a name in the configuration stands for: the parts of the package that can be replaced by one's own.

Each `Registry` knows the names of what is built in, which the module that has it fills in, and takes those of
plugins: `from dprd_cli import register`, then `@register.backbone("mine")` before a class or function. What
it has to be stands in docs/extend.md, kind by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dprd_cli.config.backbone_names import BACKBONES, TIMM
from dprd_cli.errors import UsageError, UserError, did_you_mean, short_repr

Maker = TypeVar("Maker", bound=Callable[..., Any])
_LONGEST = 60


class Registry(dict[str, Callable[..., Any]]):
    """What makes the things of one kind, by name; as a decorator's maker it takes those of plugins.

    Args:
        kind: What they are, for messages.
        built_in: Names that are the package's own, whether their makers are imported yet or not.
        family: Start of further names of the package's own, of which only another program has the list.
    """

    def __init__(self, kind: str, built_in: tuple[str, ...] = (), family: str = "") -> None:
        super().__init__()
        self.kind, self.built_in, self.family = kind, built_in, family
        #: Name -> the class or function of a plugin that has it, in words.
        self.from_plugins: dict[str, str] = {}

    def __call__(self, name: str) -> Callable[[Maker], Maker]:
        """Return a decorator that enters a class or function under a name.

        The same one may be entered again, as where a notebook's cell runs twice.

        Raises:
            UsageError: If it is no name, or another's.
        """
        if not (isinstance(name, str) and name.isprintable() and name.split() == [name[:_LONGEST]]):
            raise UsageError(f"{self.kind} {short_repr(name)}: expected a name of one word")
        if self._is_built_in(name):
            raise UsageError(f"{self.kind} '{name}' is built in; choose another name")

        def enter(maker: Maker) -> Maker:
            owner = f"{maker.__module__}.{maker.__qualname__}"
            if self.from_plugins.setdefault(name, owner) != owner:
                raise UsageError(f"{self.kind} '{name}' is there already, from {self.from_plugins[name]}")
            self[name] = maker
            return maker

        return enter

    def __missing__(self, name: str) -> Callable[..., Any]:
        """Return the maker of a family's names, which is entered under the family's start."""
        if self.family and name != self.family and name.startswith(self.family):
            return self[self.family]
        raise KeyError(name)

    def call(self, name: str, *arguments: Any) -> Any:
        """Return what a maker returns.

        Raises:
            UserError: If a plugin's fails, with the plugin's name.
        """
        return self.guard(name, self[name], *arguments)

    def guard(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns that belongs to what has a name here.

        Raises:
            UserError: If a plugin's fails, with the plugin's name.
        """
        try:
            return function(*arguments)
        except UserError:
            raise
        except Exception as error:
            if name not in self.from_plugins:
                raise
            raise self.failure(name, error) from error

    def failure(self, name: str, error: Exception) -> UserError:
        """Return the line for an error in a plugin's code."""
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return UserError(
            f"{self.kind} '{name}' of {self.from_plugins.get(name, 'a plugin')}: {reason}; mend the plugin "
            "(DPRD_DEBUG=1 shows where)"
        )

    def reset(self, makers: Mapping[str, Callable[..., Any]], from_plugins: Mapping[str, str]) -> None:
        """Go back to what there was before, of which these are copies."""
        self.clear()
        self.update(makers)
        self.from_plugins = dict(from_plugins)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, those of plugins last."""
        return tuple(dict.fromkeys((*self.built_in, *self.from_plugins)))

    def knows(self, name: str) -> bool:
        """Whether something is called so; of a family only its own program can tell."""
        return name in self.from_plugins or self._is_built_in(name)

    def check(self, name: str) -> str:
        """Return a name if something is called so.

        Raises:
            PydanticCustomError: If nothing is; the message lists what there is.
        """
        from pydantic_core import PydanticCustomError  # `dprd --help` does without

        if self.knows(name):
            return name
        more = f"; from plugins: {', '.join(self.from_plugins)}" if self.from_plugins else ""
        hint = did_you_mean(name, self.names)
        raise PydanticCustomError(
            "unknown_name",
            "there is no such {kind}{hint}; built in: {names}{more} (docs/extend.md: --plugin)",
            {"kind": self.kind, "hint": hint, "names": ", ".join(self.built_in) or "none", "more": more},
        )

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a name: the package's own, or any."""
        return {"anyOf": [{"enum": list(self.built_in)}, {"type": "string"}]}

    def _is_built_in(self, name: str) -> bool:
        family = self.family
        return name in self.built_in or bool(family and name.startswith(family) and name != family)


backbone = Registry("backbone", BACKBONES, family=TIMM)
neck = Registry("neck", ("fpn", "panet", "bifpn"))
parts = Registry("part source", ("none", "fixed", "deformable", "placed", "oracle", "pooling"))
fusion = Registry("fusion", ("rda", "concat", "tree"))
augmentation = Registry("augmentation", ("geometry", "copy_paste", "color"))
# in the order in which they look: the surest signs come first
reader = Registry(
    "reader",
    (
        "coco",
        "voc-devkit",
        "yolo",
        "coco-any",
        "datumaro",
        "via",
        "labelme",
        "voc-flat",
        "yolo-names",
    ),
)
metric = Registry("metric", ("recall", "part_drift", "cues"))
logger = Registry("logger", ("tensorboard", "wandb"))


def is_metric_of_plugin(key: str) -> bool:
    """Whether a key of an evaluation is a plugin's metric, or one of its numbers."""
    return any(key == name or key.startswith(f"{name}_") for name in metric.from_plugins)


#: All of them, by what they are called in `dprd_cli.register`.
REGISTRIES = {
    "backbone": backbone,
    "neck": neck,
    "parts": parts,
    "fusion": fusion,
    "augmentation": augmentation,
    "reader": reader,
    "metric": metric,
    "logger": logger,
}
