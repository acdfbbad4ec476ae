"""What a GPU would be asked to do: kernels launched, waits for the device, multiply-accumulates.

Small steps on a GPU are bound by the host, which launches kernels one by one and now and then waits for an
answer before it can go on. Both can be counted without a GPU: `CountedDevice` makes tensors say that they are
elsewhere, computes them on the CPU, and counts each operation by the line of this project that asks for it.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

import dprd_cli
from dprd_cli.model.detector import Detector
from dprd_cli.structures.detections import Target

_DEVICE = torch.device("meta")  # of all names of devices, the one that PyTorch asks nothing of
_CPU = torch.device("cpu")
_ROOT = str(Path(dprd_cli.__file__).parent)
#: Their results' shapes or values are the host's to know.
_WAITING = {
    "aten::_local_scalar_dense",
    "aten::_unique2",
    "aten::equal",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave",
    "aten::unique_consecutive",
    "aten::unique_dim",
    "torchvision::nms",
}
#: Of their kernels there are none: they lay out memory, or look at the same in another way.
_FREE = {
    "aten::_reshape_alias",
    "aten::_unsafe_view",
    "aten::alias",
    "aten::detach",
    "aten::empty",
    "aten::empty_like",
    "aten::empty_strided",
    "aten::lift_fresh",
    "aten::new_empty",
    "aten::new_empty_strided",
}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_unsafe_index"}
_FROM_HOST = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
_TO_HOST = {Tensor.tolist, Tensor.numpy, Tensor.__array__}


@dataclass(frozen=True, slots=True)
class DeviceWork:
    """What a call asks of a device.

    Args:
        launches: Operations that launch a kernel or more.
        waits: Times that the host waits until the device has done what it was given: for a value or a shape
            that decides how to go on, or for a copy.
        macs: Multiply-accumulates of convolutions and matrix products, backward included.
        launches_at: Launches by place: a line's function, or `backward: <operation>`.
        waits_at: Waits by place and operation.
    """

    launches: int
    waits: int
    macs: int
    launches_at: Mapping[str, int]
    waits_at: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the dearest place first."""
        return {
            "launches": self.launches,
            "waits": self.waits,
            "gmac": self.macs / 1e9,
            "launches_at": dict(self.launches_at),
            "waits_at": dict(self.waits_at),
        }


class _Elsewhere(Tensor):
    """A tensor that says it is on `_DEVICE`; what it holds is on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[_Elsewhere], held: Tensor) -> _Elsewhere:
        make = Tensor._make_wrapper_subclass  # noqa: SLF001
        made: _Elsewhere = make(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=_DEVICE,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment] # noqa: SLF001

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func}: outside of `CountedDevice`")


class CountedDevice:
    """Computes what is given to it as if on a device, and counts; a context.

    Attributes:
        device: Where tensors say that they are.
    """

    device = _DEVICE

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.macs = 0
        self._modes: tuple[Any, Any] = (_Operations(self), _HostValues(self))

    def __enter__(self) -> CountedDevice:
        self._open = ExitStack()
        for mode in self._modes:
            self._open.enter_context(mode)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.close()

    @property
    def work(self) -> DeviceWork:
        """What was counted so far."""
        launches, waits = dict(self.launches.most_common()), dict(self.waits.most_common())
        return DeviceWork(sum(launches.values()), sum(waits.values()), self.macs, launches, waits)

    def wait(self, what: str) -> None:
        """Count a wait, for that operation."""
        self.waits[f"{_place()}: {what}"] += 1


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, device: CountedDevice) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.name().split(".")[0]
        target = kwargs.get("device")
        inputs = any(isinstance(leaf, _Elsewhere) for leaf in tree_leaves((args, kwargs)))
        on_host = kwargs if target is None else {**kwargs, "device": _CPU}
        found = func(*tree_map_only(_Elsewhere, _held, args), **tree_map_only(_Elsewhere, _held, on_host))
        if (inputs or target == _DEVICE) and name not in _FREE and not func.is_view:
            self._count(func, name, args, kwargs, found)
        if name.endswith("_") and isinstance(args[0], _Elsewhere):
            return args[0]
        is_there = inputs if target is None else target == _DEVICE
        return tree_map_only(Tensor, _Elsewhere, found) if is_there else found

    def _count(self, func: Any, name: str, args: Any, kwargs: Any, found: Any) -> None:
        operation = name.removeprefix("aten::").removeprefix("torchvision::")
        place = _place()
        self.counted.launches[f"backward: {operation}" if place == "backward" else place] += 1
        masks = name in _INDEXING and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        filled = masks and "put" in name and args[2].numel() == 1  # a fill, not a gathering
        sized = kwargs.get("output_size") is not None
        if (
            _copies_and_waits(name, args, kwargs)
            or (name in _WAITING and not sized)
            or (masks and not filled)
        ):
            self.counted.wait(operation)
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.counted.macs += formula(*args, **kwargs, out_val=found) // 2


class _HostValues(TorchFunctionMode):
    """Sees what no operation shows: lists that become tensors there, and tensors that become lists."""

    def __init__(self, device: CountedDevice) -> None:
        super().__init__()
        self.counted = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _TO_HOST and isinstance(args[0], _Elsewhere):
            self.counted.wait(func.__name__)
            return func(args[0].held, *args[1:], **kwargs)
        if func in _FROM_HOST:
            of_device = func is Tensor.new_tensor and isinstance(args[0], _Elsewhere)
            if kwargs.get("device", _DEVICE if of_device else None) == _DEVICE:
                self.counted.wait(func.__name__)
                kwargs.setdefault("dtype", args[0].dtype if of_device else None)
                made = torch.tensor(args[1 if of_device else 0], **{**kwargs, "device": _CPU})
                return _Elsewhere(made)
        return func(*args, **kwargs)


def _copies_and_waits(name: str, args: Any, kwargs: Any) -> bool:
    """Whether it is a copy between host and device that is waited for."""
    if name == "aten::_to_copy":
        crosses = kwargs.get("device") not in (None, args[0].device)
        return crosses and not kwargs.get("non_blocking")
    if name == "aten::copy_":
        return isinstance(args[0], _Elsewhere) != isinstance(args[1], _Elsewhere) and args[2:3] != (True,)
    return False


def _held(tensor: _Elsewhere) -> Tensor:
    return tensor.held


def _place() -> str:
    """Return `module.py:function` of this project's innermost line that is at work, or `backward`."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001
    while frame is not None:
        file = frame.f_code.co_filename
        if file == __file__ and frame.f_code.co_name == "_backward":
            return "backward"
        if file.startswith(_ROOT) and file != __file__:
            return f"{Path(file).relative_to(_ROOT)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


def count_training_pass(
    detector: Detector, images: Sequence[Tensor], targets: Sequence[Target]
) -> DeviceWork:
    """Count what a training pass but the first, forward and backward, would ask of a GPU.

    The network is not changed.

    The optimizer's part (one wait and, fused, a few launches) is left out. An operation of several kernels
    counts once.

    Args:
        detector: The network, on any device.
        images: RGB in 0..255. N x [3, H, W]
        targets: Objects of each image.
    """
    network = copy.deepcopy(detector).to(_CPU).train()
    with torch.random.fork_rng(devices=[]):
        with CountedDevice(), torch.no_grad():  # what is made once is made
            there = [_Elsewhere(image.to(_CPU)) for image in images]
            objects = [_target(target.to(_CPU)) for target in targets]
            _moved(network)(there, objects)
        with CountedDevice() as device:
            losses = network(there, objects).losses
            _backward(torch.stack(list(losses.values())).sum())
    return device.work


def _backward(total: Tensor) -> None:
    total.backward()  # type: ignore[no-untyped-call]


def _moved(module: nn.Module) -> Any:
    """Move a network's tensors in place."""
    known: dict[int, nn.Parameter] = {}
    for one in module.modules():
        for name, parameter in list(one.named_parameters(recurse=False)):
            if id(parameter) not in known:
                made = nn.Parameter(_Elsewhere(parameter.detach()), parameter.requires_grad)
                known[id(parameter)] = made
            setattr(one, name, known[id(parameter)])
        for name, buffer in list(one.named_buffers(recurse=False)):
            setattr(one, name, _Elsewhere(buffer))
    return module


def _target(target: Target) -> Target:
    return replace(
        target,
        boxes=_Elsewhere(target.boxes),
        labels=_Elsewhere(target.labels),
        masks=None if target.masks is None else _Elsewhere(target.masks),
        has_mask=_Elsewhere(target.has_mask),
        cues=None if target.cues is None else _Elsewhere(target.cues),
    )


__all__ = ["CountedDevice", "DeviceWork", "count_training_pass"]
