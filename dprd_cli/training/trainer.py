"""One run, step by step.

All randomness of step s is a function of (seed, s): the loader's, and the network's sampling, whose
generator is seeded anew at every step. So there is no random state to save, and neither evaluation nor
drawing can change what is learned.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dprd_cli.checkpoint import save_checkpoint
from dprd_cli.config import Config
from dprd_cli.data.base import Dataset
from dprd_cli.data.loading import TrainLoader
from dprd_cli.device import autocast
from dprd_cli.errors import DivergedError, InterruptedRun, UserError
from dprd_cli.model.detector import Detector
from dprd_cli.structures import Target
from dprd_cli.training.evaluate import evaluate
from dprd_cli.training.interrupt import StopRequest
from dprd_cli.training.logging import Means, RunLog
from dprd_cli.training.optimizer import GradientClipper, build_optimizer, set_learning_rate
from dprd_cli.training.pictures import draw_batch, draw_curves, draw_parts
from dprd_cli.training.run_folder import write_json
from dprd_cli.training.schedule import learning_rate

_DRAWN_BATCHES = 2


class Trainer:
    """One run: the detector, its optimizer, and where they are.

    Args:
        config: The whole run.
        run_dir: Where everything is written.
        detector: On its device.
        datasets: Training and evaluation split.
        with_masks: Whether the detector has mask heads.
        log: Metrics and messages.
        stop: Whether a signal asked to stop.
    """

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        detector: Detector,
        datasets: tuple[Dataset, Dataset],
        with_masks: bool,
        log: RunLog,
        stop: StopRequest,
    ) -> None:
        self.config = config
        self.run_dir = run_dir
        self.train_set, self.val_set = datasets
        self.with_masks = with_masks
        self.device = next(detector.parameters()).device
        self.detector = detector
        self.log = log
        self.stop = stop
        self.optimizer = build_optimizer(self.detector, config.train)
        self.clip = GradientClipper(self.detector, config.train)
        self.step = 0
        self.best: float | None = None
        self.interval = Means()

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take up the optimizer, the step and the best score of a checkpoint.

        Raises:
            UserError: If the optimizer's state is of another configuration.
        """
        try:
            self.optimizer.load_state_dict(saved["optimizer"])
        except ValueError as error:
            raise UserError(f"{self.run_dir}: the optimizer's state is of another configuration") from error
        self.step = int(saved["step"])
        scores = [row["bbox_AP"] for row in self.log.evaluations()] + [saved.get("best")]
        self.best = max((score for score in scores if score is not None), default=None)
        self.log.say(f"resuming {self.run_dir} at step {self.step} of {self.config.train.steps}")

    def run(self) -> dict[str, Any]:
        """Train to the last step, evaluating on the way, and return the final evaluation."""
        result = None
        if self._evaluation_due() and not any(row["step"] == self.step for row in self.log.evaluations()):
            result = self.evaluate()  # the run was stopped between a step and its evaluation
        batches = self._batches()
        while self.step < self.config.train.steps:
            started = time.perf_counter()
            images, targets = next(batches)
            waited = time.perf_counter() - started
            self.train_step(images, targets)
            self.interval.add({"seconds_per_step": time.perf_counter() - started, "data_wait": waited})
            self._after_step()
            result = self.evaluate() if self._evaluation_due() else None
        return self.finish(result)

    def train_step(self, images: list[Tensor], targets: list[Target]) -> None:
        """Do one optimiser step and count it.

        Raises:
            DivergedError: If the loss or its gradient is not finite; the weights are as before.
        """
        settings = self.config.train
        self.detector.train()
        torch.manual_seed((settings.seed << 32) + self.step)
        rate = learning_rate(settings, self.step)
        set_learning_rate(self.optimizer, rate)
        with autocast(self.device, settings.amp):
            output = self.detector(
                [image.to(self.device, non_blocking=True) for image in images],
                [target.to(self.device) for target in targets],
            )
        total = torch.stack(list(output.losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norms = self.clip()
        # the network's sampling waits for the device many times a step: one more wait costs nothing
        if not torch.isfinite(torch.stack([total.detach(), *norms.values()])).all():
            self._diverged({**output.losses, **norms}, rate, [target.image_id for target in targets])
        self.optimizer.step()
        self.interval.add(
            {"loss": total.detach(), **output.losses, **output.diagnostics, **norms, "lr": rate}
        )
        self.step += 1

    def evaluate(self) -> dict[str, Any]:
        """Evaluate, keep the checkpoint if it is the best so far, and draw the parts."""
        result = self._measure(self.config.train.eval_limit)
        score = result["metrics"]["bbox_AP"]
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            save_checkpoint(self.run_dir / "best.pt", self._payload())
        # the row comes last: a run stopped before it evaluates again
        self.log.add({"kind": "eval", "step": self.step, **result["metrics"]})
        draw_parts(
            self.detector, self.val_set, self.config, self.device, self.run_dir / f"parts_step{self.step}.png"
        )
        return result

    def finish(self, result: dict[str, Any] | None) -> dict[str, Any]:
        """Evaluate on the whole split, write `results.json` and the curves."""
        limit = self.config.train.eval_limit
        if result is None or (limit and limit < len(self.val_set)):
            result = self._measure(0)
        final = {
            "checkpoint": "last.pt",
            "step": self.step,
            "data": self.val_set.name,
            **{key: value for key, value in result["metrics"].items() if key.startswith(("recall", "part"))},
            "seconds_per_image": result["seconds_per_image"],
            **result["results"],
        }
        write_json(self.run_dir / "results.json", final)
        draw_curves(self.log.rows, self.run_dir)
        return final

    def save(self) -> None:
        """Save `last.pt`; the one that was there becomes `previous.pt`."""
        payload = {**self._payload(), "optimizer": self.optimizer.state_dict()}
        save_checkpoint(self.run_dir / "last.pt", payload, previous=self.run_dir / "previous.pt")

    def _payload(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "class_names": list(self.train_set.class_names),
            "category_ids": list(self.train_set.category_ids),
            "with_masks": self.with_masks,
            "model": self.detector.state_dict(),
            "step": self.step,
            "best": self.best,
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
        )
        for number, (images, targets) in enumerate(loader, start=self.step):
            if number < _DRAWN_BATCHES:
                path = self.run_dir / f"train_batch{number}.png"
                draw_batch(images, targets, self.train_set.class_names, path)
            yield images, targets

    def _after_step(self) -> None:
        settings = self.config.train
        last = self.step == settings.steps
        if self.step % settings.log_every == 0 or last:
            self.log.add({"kind": "train", "step": self.step, **self.interval.take()})
        self.log.progress("train", self.step, settings.steps)
        if self.step % settings.save_every == 0 or self._evaluation_due() or self.stop.exit_code:
            self.save()
        self._stop_if_asked()

    def _evaluation_due(self) -> bool:
        every = self.config.train.eval_every
        return self.step > 0 and (
            self.step == self.config.train.steps or bool(every and self.step % every == 0)
        )

    def _measure(self, limit: int) -> dict[str, Any]:
        def progress(done: int, total: int) -> None:
            self.log.progress("evaluate", done, total)
            self._stop_if_asked()

        return evaluate(
            self.detector,
            self.val_set,
            self.config,
            limit=limit,
            device=self.device,
            with_masks=self.with_masks and self.val_set.has_masks,
            progress=progress,
        )

    def _stop_if_asked(self) -> None:
        """Leave if a signal came; the state of this step has been saved."""
        if self.stop.exit_code:
            raise InterruptedRun(
                f"stopped at step {self.step} and saved; continue with: dprd train --resume {self.run_dir}",
                self.stop.exit_code,
            )

    def _diverged(self, values: Mapping[str, Tensor], rate: float, image_ids: list[int]) -> None:
        found = {key: value.item() for key, value in values.items()}
        bad = [key for key, value in found.items() if not torch.isfinite(torch.tensor(value))]
        base = self.config.train.lr
        advice = f"lower the learning rate (--set train.lr={base / 2:g}) or clip (--set train.clip_norm=5)"
        path = self.run_dir / "diverged.json"
        write_json(
            path,
            {
                "step": self.step,
                "lr": rate,
                "not_finite": bad,
                "values": {key: value if key not in bad else str(value) for key, value in found.items()},
                "image_ids": image_ids,
                "advice": advice,
            },
        )
        raise DivergedError(
            f"step {self.step}: not finite: {', '.join(bad[:3])}; {advice}; details in {path}"
        )
