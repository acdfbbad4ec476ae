"""A checkpoint's configuration with another data section: the network stays, the images change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dprd_cli.config.schema import Config
from dprd_cli.config.tree import merge, parse_overrides, validate
from dprd_cli.errors import UsageError


def with_data_section(
    config: Config,
    *,
    path: str | None = None,
    on_bad_image: str | None = None,
    image_size: int | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """Return a configuration with other data.

    Args:
        config: The checkpoint's.
        path: `data.path`, where it changes: the names of the old data's files are forgotten.
        on_bad_image: `data.on_bad_image`, where it changes.
        image_size: `data.test_min_size`, the short side at test in pixels, where it changes; the other sizes
            at test change in proportion.
        overrides: `data.KEY=VALUE` pairs; they win.

    Raises:
        UsageError: At a pair that is none, an unknown key, a wrong value, or a key of another section.
    """
    given = parse_overrides(overrides)
    for pair in overrides:
        if not pair.strip().startswith("data."):
            raise UsageError(f"--set {pair}: the checkpoint fixes this; only data.* keys can be set here")
    flags: dict[str, Any] = {} if on_bad_image is None else {"on_bad_image": on_bad_image}
    if image_size is not None:
        flags |= _sizes(config, image_size)
    if path is not None and path != config.data.path:
        flags |= {f"{split}_{kind}": "" for split in ("train", "val", "test") for kind in ("json", "images")}
        flags |= {"path": path, "voc_train": [], "voc_val": []}
    tree = merge(config.model_dump(mode="json"), {"data": flags})
    return validate(merge(tree, given))


def _sizes(config: Config, image_size: int) -> dict[str, Any]:
    """Return the sizes at test, where the short side is to be `image_size`."""
    data, ratio = config.data, image_size / config.data.test_min_size
    return {
        "test_min_size": image_size,
        "max_size": max(1, round(data.max_size * ratio)),
        "tta_min_sizes": [max(1, round(size * ratio)) for size in data.tta_min_sizes],
        "tta_max_size": max(1, round(data.tta_max_size * ratio)),
    }
