"""Training from a config to results: sets up, resumes, and leaves a checkpoint whatever stops it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from dprd_cli.config.schema import Config, TrainConfig
from dprd_cli.errors import UsageError
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.progress import Progress, say
from dprd_cli.runtime.signals import StopRequest
from dprd_cli.training.best import check_metric
from dprd_cli.training.fallback_watch import FallbackWatch
from dprd_cli.training.memory import memory_advice
from dprd_cli.training.metrics_log import RunLog, SilentLog
from dprd_cli.training.result import TrainResult
from dprd_cli.training.run_folder import describe_run, read_resumable, run_lock
from dprd_cli.training.setup import set_up
from dprd_cli.training.trackers import check_trackers, start_trackers
from dprd_cli.training.trainer import Trainer


def train(
    config: Config,
    run_dir: Path,
    *,
    resume: bool = False,
    group: ProcessGroup = SINGLE_PROCESS,
    on_progress: Progress | None = None,
) -> TrainResult | None:
    """Train a detector, or continue a run.

    Args:
        config: The whole run.
        run_dir: Where everything is written; empty, or a run to continue.
        resume: Continue from `last.pt` (else `previous.pt`) in `run_dir`.
        group: The processes that train together, all of which call this. The main one alone reads and writes
            the run folder. Law: W of them are the same as one with W times `train.accumulate`.
        on_progress: Called with (steps done, steps in all) after each step, in the main one.

    Returns:
        The run with its final evaluation; None on the other ranks.

    Raises:
        UserError: On data that cannot be used, a checkpoint that does not fit, a loss that is not finite
            (`DivergedError`), a full disk (`ResourceError`), another process that trains this run
            (`BusyError`), or a signal (`InterruptedRun`, all saved).
    """
    with run_lock(run_dir) if group.is_main else nullcontext():
        return train_locked(config, run_dir, resume=resume, group=group, on_progress=on_progress)


def train_locked(
    config: Config,
    run_dir: Path,
    *,
    resume: bool,
    group: ProcessGroup = SINGLE_PROCESS,
    on_progress: Progress | None = None,
) -> TrainResult | None:
    """Do what `train` does, in a run folder whose `run_lock` the main rank holds."""
    check_metric(config.train.best_metric)
    check_trackers(config.train.loggers)
    _check_share(config, group)
    saved = group.broadcast(lambda: read_resumable(run_dir) if resume else None)
    with memory_advice(config, run_dir):
        setup = set_up(config, saved, run_dir, group)
        check_metric(
            config.train.best_metric,
            masks=setup.with_masks and setup.val_set.has_masks,
            voc=setup.val_set.is_voc,
        )
        step = saved["step"] if saved else 0
        log = RunLog(run_dir, config.train.steps, step, on_progress) if group.is_main else SilentLog()
        with StopRequest() as stop, log:
            trainer = Trainer(config, run_dir, setup, log=log, stop=stop, group=group)
            if saved is not None:
                trainer.restore(saved)
            if group.is_main:  # the run folder is touched from here on: what was asked for fits
                describe_run(run_dir, config, setup.device)
                log.start([FallbackWatch(config), *start_trackers(config, run_dir, step)])
            if saved is None:
                trainer.save()
            _tell_long_warm_up(config.train)
            return trainer.run()


def _tell_long_warm_up(train: TrainConfig) -> None:
    """Say that the rate never becomes the configured one, where it does not."""
    if train.warmup_steps > train.steps:
        say(
            f"the warm-up of {train.warmup_steps} steps is longer than the run of {train.steps}: the "
            "learning rate never gets to train.lr; set train.warmup_steps"
        )


def _check_share(config: Config, group: ProcessGroup) -> None:
    """Check that every pass of every rank has an image."""
    passes = group.size * config.train.accumulate
    if group.size > 1 and config.train.batch_size < passes:
        raise UsageError(
            f"train.batch_size={config.train.batch_size}: the images of a step over all processes; at "
            f"least {passes} for {group.size} processes with train.accumulate={config.train.accumulate}"
        )
