"""Tiny runs, and what is compared of them; on the import path of every test."""

import torch

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import Config
from dprd_cli.training.metrics_log import read_metrics
from dprd_cli.weights.checkpoint import read_checkpoint
from paths import TINY


def tiny(*overrides: str) -> Config:
    return resolve(config_file=TINY, overrides=overrides)


def same_state(a, b):
    one, other = read_checkpoint(a), read_checkpoint(b)
    assert one["step"] == other["step"]
    assert all(torch.equal(one["model"][key], other["model"][key]) for key in one["model"])
    moments = zip(one["optimizer"]["state"].values(), other["optimizer"]["state"].values(), strict=True)
    for mine, theirs in moments:
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def losses(folder):
    rows = read_metrics(folder / "metrics.jsonl")
    return [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]
