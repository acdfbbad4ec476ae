"""What the schedule `auto` must know of a data set and of a machine."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of the data.

    Args:
        images: Training images.
        with_objects: Those that show an object.
        objects: Objects in them.
        masks: How many of the objects have a mask.
        classes: Number of classes.
        short_side: Median of the images' short sides, pixels.
        small_object: Side (root of the box's area) that a tenth of the objects stay below, in shares of
            their image's short side; 0 without objects.
        val_images: Images to evaluate on.
    """

    images: int
    with_objects: int
    objects: int
    masks: int
    classes: int
    short_side: float
    small_object: float
    val_images: int

    def line(self) -> str:
        """Return what they are in words."""
        masks = f"{self.masks} with masks" if self.masks else "boxes only"
        return (
            f"{self.images} images (short side {self.short_side:.0f}), {self.objects} objects ({masks}), "
            f"{self.classes} {'class' if self.classes == 1 else 'classes'}"
        )


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What is known of the machine.

    Args:
        device: `cpu` or `cuda`.
        name: What the device is called.
        memory: Bytes that training may take on it.
        cores: Processor cores.
        pretrained: Backbones whose ImageNet weights are on this machine.
    """

    device: str
    name: str
    memory: int
    cores: int
    pretrained: frozenset[str] = frozenset()

    def line(self) -> str:
        """Return what it is in words."""
        return f"{self.name} with {self.memory / GIB:.0f} GiB free, {self.cores} cores"
