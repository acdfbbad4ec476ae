"""One run, step by step.

All randomness of step s is a function of (seed, s): the loader's, and the network's sampling, whose
generator is seeded anew at every step. So there is no random state to save, and neither evaluation nor
drawing can change what is learned. Weights, their average, the optimizer's state, the sums of the log's next
row (all in a checkpoint) and the evaluations in the metrics file are the whole state of a run.

With several ranks all do the same steps on their shares of the images and have the same weights; the main
rank alone writes, draws, talks and decides when to stop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

from torch import Tensor

from dprd_cli.config.schema import Config
from dprd_cli.data.build import fingerprint
from dprd_cli.data.loading import TrainLoader
from dprd_cli.errors import DataError, DivergedError, InterruptedRun, UsageError, UserError
from dprd_cli.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate_in_group
from dprd_cli.files.atomic import write_json
from dprd_cli.model.detector import Detector
from dprd_cli.model.inference import for_inference
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.signals import StopRequest
from dprd_cli.structures.detections import Target
from dprd_cli.training.best import best_score, evaluations_since_best
from dprd_cli.training.divergence import DivergedState, divergence
from dprd_cli.training.ema import WeightAverage
from dprd_cli.training.figures import CurveDrawer, draw_batch, draw_parts
from dprd_cli.training.learner import EXPLODED, Learner, NotFiniteError
from dprd_cli.training.metrics_log import Means, RunLog
from dprd_cli.training.optimizer import learning_rate
from dprd_cli.training.pace import PaceForecast
from dprd_cli.training.result import TrainResult
from dprd_cli.training.setup import TrainingSetup
from dprd_cli.weights.checkpoint import CheckpointData, load_state, read_checkpoint, save_checkpoint

_DRAWN_BATCHES = 2
_FIRST_SHOWN = (1, 2, 5)  # steps of a run, or of its rest, after which is shown how it goes, without a row
#: Keys of the training section that decide what an optimizer keeps of each parameter.
_DECIDE_STATE = {"optimizer", "backbone_lr_mult", "part_lr_mult", "momentum"} | {
    "weight_decay",
    "weight_decay_norm",
}


class Trainer:
    """One run: what learns, and where it is.

    Args:
        config: The whole run.
        run_dir: Where everything is written.
        setup: The detector and the data.
        log: Metrics and messages.
        stop: Whether a signal asked to stop.
        group: The processes that train together.

    Attributes:
        learner: The trained detector and its optimizer.
        model: What is evaluated and saved as the model: the trained detector, or the average of its weights.
    """

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        setup: TrainingSetup,
        *,
        log: RunLog,
        stop: StopRequest,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.config, self.run_dir = config, run_dir
        self.train_set, self.val_set = setup.train_set, setup.val_set
        self.with_masks = setup.with_masks
        self._precision = {setup.device.type: setup.precision}
        self._data = {"train": fingerprint(setup.train_set), "val": fingerprint(setup.val_set)}
        self.group = group
        self.learner = Learner(setup.detector, config.train, group, precision=setup.precision)
        self.average = WeightAverage(setup.detector, config.train.ema) if config.train.ema else None
        self.model = self.average.detector if self.average else setup.detector
        self.log, self.stop = log, stop
        self.step = self._first_step = 0
        self.best: float | None = None
        self.score_thresh: float | None = None
        self.stale, self._agreed_stop = False, 0
        self.interval = Means()
        self._curves = CurveDrawer(run_dir)
        self._pace = PaceForecast(config, run_dir, self.learner, len(setup.val_set))

    def restore(self, saved: CheckpointData) -> None:
        """Take up what a checkpoint holds beside the trained weights.

        Raises:
            UsageError: If it has done more steps than `train.steps`.
            UserError: If it is of another configuration, or malformed.
        """
        settings = self.config.train
        if saved["step"] > settings.steps:
            raise UsageError(
                f"train.steps={settings.steps}: {self.run_dir} has done {saved['step']} steps; give it more, "
                "or start a new run"
            )
        if saved.get("data", self._data) != self._data:  # checkpoints of older versions do not say
            raise DataError(
                f"{self.config.data.path}: not the images that {self.run_dir} was trained on (other ids, "
                "names or order); pass the folder they have moved to with --data, or start a new run"
            )
        try:
            self.learner.restore(saved["optimizer"])
            self.interval.restore(saved.get("interval", {}))
            self._precision = saved.get("precision", {}) | self._precision
            if saved["config"]["train"].get("best_metric", "bbox_AP") == settings.best_metric:
                best = saved.get("best")
                self.best = None if best is None else float(best)
        # malformed containers fail in many ways
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            raise UserError(f"{self.run_dir}: {self._misfit(saved)}") from error
        if self.average and "trained" in saved:
            load_state(self.average.detector, saved["model"], self.run_dir)
        self.step = self._first_step = int(saved["step"])
        rows = self.log.evaluations()
        self.score_thresh = rows[-1].get("score_thresh") if rows else None
        score = best_score(rows, settings.best_metric)
        self.best = self.best if score is None else score
        self.log.say(f"resuming {self.run_dir} at step {self.step} of {settings.steps}")
        self._look_for_progress()

    def _misfit(self, saved: CheckpointData) -> str:
        """Say which settings an optimizer's state may not fit."""
        changed = ", ".join(
            f"train.{key}={getattr(self.config.train, key)} (it was {value})"
            for key, value in saved["config"].get("train", {}).items()
            if key in _DECIDE_STATE and getattr(self.config.train, key) != value
        )
        why = f"leave out {changed}" if changed else "it was changed, or another program wrote it"
        return f"the optimizer's state is of another configuration; {why}"

    def run(self) -> TrainResult | None:
        """Train to the last step, evaluating on the way, and return the result; None on other ranks."""
        result = None
        if self._evaluation_due() and not self.group.broadcast(self._is_evaluated):
            result = self.evaluate()  # the run was stopped between a step and its evaluation
        batches = self._batches()
        while self.step < self.config.train.steps and not self.stale:
            started = time.perf_counter()
            images, targets = next(batches)
            waited = time.perf_counter() - started
            self.train_step(images, targets)
            elapsed = time.perf_counter() - started
            self.interval.add({"seconds_per_step": elapsed, "data_wait": waited})
            self._after_step()
            for line in self._pace.add(elapsed, self.step):
                self.log.say(line)
            result = self.evaluate() if self._evaluation_due() else None
        return self.finish(result)

    def train_step(self, images: list[Tensor], targets: list[Target]) -> None:
        """Do one optimiser step and count it.

        Raises:
            DivergedError: If the loss or its gradient is not finite; the weights are as before.
        """
        rate = learning_rate(self.config.train, self.step)
        try:
            values = self.learner.step(self.step, rate, images, targets)
        except NotFiniteError as error:
            if not error.shared:  # the others learn of it when this process ends
                raise self._diverged(error.values, rate, [t.image_id for t in targets]) from error
            parts = self.group.gather([one.image_id for one in targets])
            image_ids = [image_id for part in parts for image_id in part]
            raise self.group.shared_error(self._diverged(error.values, rate, image_ids)) from error
        self.interval.add(values)
        self.step += 1
        if self.average:
            self.average.update(self.step)

    def evaluate(self) -> Evaluation | None:
        """Evaluate, keep the checkpoint if it is the best so far, and draw the parts; None on other ranks."""
        result = self._measure(self.config.train.eval_limit)
        if result is not None:
            self._keep(result)
        self._look_for_progress()
        return result

    def _keep(self, result: Evaluation) -> None:
        metrics, self.score_thresh = result.metrics, result.thresholds.score
        score = metrics.get(self.config.train.best_metric)
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            save_checkpoint(self.run_dir / "best.pt", self._payload())
        path = self.run_dir / f"parts_step{self.step}.png"
        draw_parts(self._at_test(), self.val_set, self.config, self.learner.device, path)
        self.log.add_image("parts", path, self.step)
        # the row comes last: a run stopped before it evaluates again
        self.log.add({"kind": "eval", "step": self.step, **metrics, "score_thresh": self.score_thresh})
        self._curves.if_cheap(self.log.rows)

    def _is_evaluated(self) -> bool:
        return any(row["step"] == self.step for row in self.log.evaluations())

    def _look_for_progress(self) -> None:
        """Decide by the evaluations so far whether to go on."""
        self.stale = self.group.broadcast(self._is_stale)

    def _is_stale(self) -> bool:
        settings = self.config.train
        rows = self.log.evaluations()
        if rows and rows[-1].get(settings.best_metric) is None:
            self.log.say(f"{settings.best_metric}: nothing to measure; best.pt stays as it is")
        if settings.patience and evaluations_since_best(rows, settings.best_metric) >= settings.patience:
            self.log.say(
                f"stopped at step {self.step} of {settings.steps}: no better {settings.best_metric} in "
                f"{settings.patience} evaluations (train.patience)"
            )
            return True
        return False

    def finish(self, result: Evaluation | None) -> TrainResult | None:
        """Evaluate on the whole split, write `results.json` and the curves; see `loop.train`."""
        limit = self.config.train.eval_limit
        if self.group.broadcast(lambda: result is None) or (limit and limit < len(self.val_set)):
            result = self._measure(0)
        if result is None:
            return None
        final = TrainResult(self.run_dir, self.step, self.val_set.name, result)
        write_json(self.run_dir / "results.json", final.to_json())
        self._curves.now(self.log.rows)
        last = read_checkpoint(self.run_dir / "last.pt")  # saved before the evaluation
        if last.get("score_thresh") != result.thresholds.score:
            last["score_thresh"] = result.thresholds.score
            save_checkpoint(self.run_dir / "last.pt", last)
        return final

    def save(self) -> None:
        """Save `last.pt`; the one that was there becomes `previous.pt`."""
        self._check_weights()
        if not self.group.is_main:
            return
        payload = self._payload()
        if self.average:
            payload["trained"] = self.learner.detector.state_dict()
        payload |= CheckpointData(
            optimizer=self.learner.optimizer.state_dict(), interval=self.interval.state()
        )
        save_checkpoint(self.run_dir / "last.pt", payload, previous=self.run_dir / "previous.pt")

    def _check_weights(self) -> None:
        """Keep weights that nothing can be made of any more out of the run folder.

        Raises:
            DivergedError: If a weight is not finite, or far too large.
        """
        largest = self.learner.largest_weight()
        if not largest < EXPLODED:  # nan is not
            error = self._diverged({"largest weight": largest}, self.config.train.lr, [])
            raise self.group.shared_error(error)

    def _payload(self) -> CheckpointData:
        return {
            "config": self.config.model_dump(mode="json"),
            "class_names": list(self.train_set.class_names),
            "category_ids": list(self.train_set.category_ids),
            "with_masks": self.with_masks,
            "model": self.model.state_dict(),
            "step": self.step,
            "best": self.best,
            "score_thresh": self.score_thresh,
            "data": self._data,
            "precision": self._precision,
        }

    def _batches(self) -> Iterator[tuple[list[Tensor], list[Target]]]:
        settings = self.config.train
        loader = TrainLoader(
            self.train_set,
            self.config.data,
            batch_size=settings.batch_size,
            seed=settings.seed,
            steps=settings.steps,
            start_step=self.step,
            shard=(self.group.rank, self.group.size),
            is_stopping=lambda: bool(self.stop.exit_code),
        )
        for number, (images, targets) in enumerate(loader, start=self.step):
            if number < _DRAWN_BATCHES and self.group.is_main:
                path = self.run_dir / f"train_batch{number}.png"
                draw_batch(images, targets, self.train_set.class_names, path)
            yield images, targets

    def _after_step(self) -> None:
        settings = self.config.train
        self._agree_on_stop()
        last = self.step == settings.steps
        if self.step % settings.log_every == 0 or last:
            self.log.add({"kind": "train", "step": self.step, **self.interval.take()})
        elif self.step - self._first_step in _FIRST_SHOWN:
            self.log.show({"kind": "train", "step": self.step, **self.interval.means()})
        self.log.progress("train", self.step, settings.steps)
        if self.step % settings.save_every == 0 or self._evaluation_due() or self._agreed_stop:
            self.save()
        self._stop_if_asked()

    def _evaluation_due(self) -> bool:
        every = self.config.train.eval_every
        return self.step > 0 and (
            self.step == self.config.train.steps or bool(every and self.step % every == 0)
        )

    def _measure(self, limit: int) -> Evaluation | None:
        def progress(done: int, total: int) -> None:
            self.log.progress("evaluate", done, total)
            self._agree_on_stop()
            self._stop_if_asked()

        options = EvaluationOptions(
            limit=limit,
            masks=self.with_masks,
            batch_size=-(-self.config.train.pass_size // self.group.size),
            progress=progress,
        )
        return evaluate_in_group(self._at_test(), self.val_set, self.config, options, self.group)

    def _at_test(self) -> Detector:
        return for_inference(self.model, self.learner.precision)

    def _agree_on_stop(self) -> None:
        """Learn whether any rank was asked to stop; a signal that comes later counts the next time."""
        self._agreed_stop = self.group.all_reduce_max(self.stop.exit_code)

    def _stop_if_asked(self) -> None:
        """Leave if a signal came; the state of this step has been saved."""
        if self._agreed_stop:
            self._curves.now(self.log.rows)  # other ranks have no rows, and draw nothing
            self.group.all_reduce_max(0)  # nobody leaves before all is saved: its end would be the others'
            resume = f"dprd train --resume {quote(str(self.run_dir))}"
            message = f"stopped at step {self.step} and saved; continue with: {resume}"
            raise self.group.shared_error(InterruptedRun(message, self._agreed_stop))

    def _diverged(self, values: Mapping[str, float], rate: float, image_ids: list[int]) -> DivergedError:
        """Write down what was not finite, on the main rank, and return the error that says so."""
        state = DivergedState(self.step, rate, dict(values), image_ids)
        self._curves.now(self.log.rows)
        return divergence(self.config, self.run_dir, state, write=self.group.is_main)
