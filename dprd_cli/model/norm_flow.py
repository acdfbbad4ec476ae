"""Which convolutions of a network hand what they give to a norm, and to nothing else."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def foldable_pairs(
    network: nn.Module, image_size: tuple[int, int], is_norm: Callable[[nn.Module], bool]
) -> list[tuple[str, str]]:
    """Return the names of each bare convolution and the norm that alone reads its output.

    Where they stand in a network does not tell: timm's GhostNet gives its stem's output, which a norm reads
    as well, as a feature. So the network is run on an image without values, and each operator's inputs are
    looked at; no number is drawn or computed.

    Args:
        network: Takes images [1, 3, H, W]; it is not changed. One that does not run without values has no
            pairs.
        image_size: (height, width) that it takes.
        is_norm: Whether a module is such a norm.
    """
    twin = copy.deepcopy(network).to("meta").eval()
    flow = _Flow()
    for name, module in twin.named_modules():
        if is_norm(module):
            flow.watch_norm(name, module)
        elif type(module) is nn.Conv2d and module.bias is None and module.padding_mode == "zeros":
            flow.watch_convolution(name, module)
    try:
        with torch.no_grad(), flow:
            features = twin(torch.empty((1, 3, *image_size), device="meta"))
    except Exception:  # whatever a model that looks at values raises
        return []
    flow.read_by_others(features)
    return flow.pairs()


class _Flow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the outputs of convolutions to those that read them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._outputs: dict[int, tuple[str, Tensor]] = {}  # kept, so that no other tensor gets the id
        self._readers: dict[str, str] = {}  # convolution -> norm
        self._others: set[str] = set()  # convolutions that something else reads as well
        self._calls: Counter[str] = Counter()
        self._in_norm = False

    def watch_convolution(self, name: str, module: nn.Module) -> None:
        """Note what a module gives."""

        def gives(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._calls[name] += 1
            self._outputs[id(output)] = name, output

        module.register_forward_hook(gives)

    def watch_norm(self, name: str, module: nn.Module) -> None:
        """Note what a module reads, but not what its own operators do."""

        def enters(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._calls[name] += 1
            self._in_norm = True
            if id(inputs[0]) in self._outputs:
                self._readers[self._outputs[id(inputs[0])][0]] = name

        def leaves(*_: Any) -> None:
            self._in_norm = False

        module.register_forward_pre_hook(enters)
        module.register_forward_hook(leaves)

    def read_by_others(self, values: Any) -> None:
        """Note which outputs are among values, in any containers."""
        for value in tree_leaves(values):
            if id(value) in self._outputs:
                self._others.add(self._outputs[id(value)][0])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._in_norm:
            self.read_by_others((args, kwargs))
        return func(*args, **(kwargs or {}))

    def pairs(self) -> list[tuple[str, str]]:
        """Return what was found: convolution and norm, each of which ran once."""
        return [
            (conv, norm)
            for conv, norm in self._readers.items()
            if conv not in self._others and self._calls[conv] == self._calls[norm] == 1
        ]
