"""The sections on how a run was trained."""

from dprd_cli.config.presets import resolve
from dprd_cli.report.training import changed_settings, environment, settings, training
from pages import rows


def test_curves_that_are_lacking_are_said(page):
    made, run = page()
    assert "No training curves" in training(made, run)
    run.metrics = [{"kind": "train", "step": 1, "loss": 2.0}]
    html = training(made, run)
    assert "No AP during training: the run was not evaluated." in html
    assert "No part curves: the detector has no parts." in html
    run.metrics = rows()
    assert "No AP" not in training(made, run)
    assert "No part curves" not in training(made, run)


def test_only_changed_settings_are_differences():
    config = resolve(preset="dprd-small", schedule="small", flags={"data.path": "synthetic"})
    assert changed_settings(config.model_dump(mode="json")) == {}
    tree = config.model_dump(mode="json")
    tree["train"]["steps"] += 1
    assert changed_settings(tree) == {"train.steps": (config.train.steps + 1, config.train.steps)}
    assert changed_settings({"preset": "unheard-of"}) is None


def test_settings_are_compared_with_the_presets_defaults(page):
    config = resolve(preset="dprd-small", schedule="small").model_dump(mode="json")
    made, run = page(config=config)
    assert "All settings are the defaults of preset dprd-small, schedule small." in settings(made, run)
    config["train"]["steps"] = 7
    assert "train.<wbr>steps</th><td>7</td><td>1500" in settings(made, run)
    assert "[train]" in settings(made, run)  # all of them, as TOML


def test_settings_of_another_version_are_shown_as_they_are(page):
    html = settings(*page(config={"preset": "unheard-of", "model": {"wings": 2}}))
    assert "not known to this version, so there are no defaults to compare with" in html
    assert "model.wings = 2" in html
    assert "Settings unknown" in settings(*page())


def test_the_environment_is_a_table(page):
    html = environment(*page(environment={"torch": "<2>", "commit": None}))
    assert "&lt;2&gt;" in html
    assert "commit</th><td>unknown" in html
    assert "Environment unknown" in environment(*page())
