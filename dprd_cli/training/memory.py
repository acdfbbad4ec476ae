"""What to do when memory is short."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dprd_cli.config.schema import Config
from dprd_cli.errors import ResourceError, UserError, is_out_of_memory


@contextlib.contextmanager
def memory_advice(config: Config, run_dir: Path) -> Iterator[None]:
    """Turn an error that says that memory is short into one that names the keys to lower.

    Args:
        config: The run's, whose values are named.
        run_dir: What can be resumed, if something was saved.
    """
    try:
        yield
    except UserError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        again = f"dprd train --resume {run_dir} with these goes on" if (run_dir / "last.pt").exists() else ""
        raise ResourceError("; ".join(filter(None, (f"out of memory; {advice(config)}", again)))) from error


def advice(config: Config) -> str:
    """Return what can be lowered, what costs the result least first."""
    data, train, model = config.data, config.train, config.model
    passes = min(2 * train.accumulate, train.batch_size)
    sizes = f"data.train_min_sizes (now up to {max(data.train_min_sizes)}), data.max_size ({data.max_size})"
    if data.lsj_size:
        sizes = f"data.lsj_size (now {data.lsj_size})"
    ways = [
        f"--set train.accumulate={passes} (the {train.batch_size} images of a step in {passes} passes)"
        if passes > train.accumulate
        else "",
        "--precision auto (now fp32)" if train.precision == "fp32" and train.device != "cpu" else "",
        f"lower {sizes}",
        f"lower model.sampling.rois_per_image (now {model.sampling.rois_per_image})",
        f"lower model.sampling.mask_rois_per_image (now {model.sampling.mask_rois_per_image or 'all'})",
        "a smaller --backbone",
    ]
    return f"try {', or '.join(filter(None, ways))}; dprd train --probe-batch finds the batch that fits"
