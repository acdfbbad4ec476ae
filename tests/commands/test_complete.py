import subprocess
import sys

import pytest

from dprd_cli.cli import run


def complete(monkeypatch, capsys, line):
    """Return what bash is offered at the end of a command line."""
    words = line.split(" ")
    monkeypatch.setenv("_DPRD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert run([]) == 0
    return capsys.readouterr().out.split()


DPRD = ["dprd", "dprd-placed", "dprd-small", "dprd-placed-small", "dprd-medium", "dprd-placed-medium"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dprd pre", ["predict"]),
        ("dprd conf", ["config"]),
        ("dprd config s", ["show", "schema"]),
        ("dprd predict --save-p", ["--save-parts"]),
        (
            "dprd train --preset cascade-dprd-",
            [*(f"cascade-{name}" for name in DPRD[1:]), "cascade-dprd-swin-l"],
        ),
        ("dprd info --backbone r1", ["r10", "r18", "r101"]),
        ("dprd train --schedule ph", ["photos"]),
        ("dprd ablate table1 --schedule ph", ["photos"]),
        ("dprd ablate table1 --backbone r1", ["r10", "r18", "r101"]),
        ("dprd data stats DATA --schedule 1", ["1x"]),
        ("dprd train --set model.parts.st", ["model.parts.straight_through="]),
        ("dprd eval --set m", []),  # the checkpoint fixes it
        ("dprd eval --set data.voc_t", ["data.voc_train="]),
        ("dprd predict --part-offsets m", ["mean"]),
        ("dprd eval --device c", ["cpu", "cuda"]),
        ("dprd config show dprd-", DPRD[1:]),
    ],
)
def test_what_the_shell_is_offered(monkeypatch, capsys, line, offered):
    assert complete(monkeypatch, capsys, line) == offered


def test_runs_and_the_demo_are_offered_as_weights(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "last.pt").touch()
    included = ["voc", "demo", "demo-cascade-mrcnn"]
    assert complete(monkeypatch, capsys, "dprd eval --weights ") == [*included, "runs/one", "runs/two"]
    assert complete(monkeypatch, capsys, "dprd train --weights runs/t") == ["runs/two"]


def test_completion_imports_nothing_heavy():
    code = (
        "import os, sys; os.environ |= {'_DPRD_COMPLETE': 'complete_bash', 'COMP_CWORD': '3', "
        "'COMP_WORDS': 'dprd train --preset dp'}; import dprd_cli.cli as cli; code = cli.run([]); "
        "print([n for n in ('torch', 'numpy', 'cv2') if n in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (DPRD, "[]\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_shown_for_every_shell(monkeypatch, capsys, shell):
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    assert run(["--show-completion"]) == 0
    out, err = capsys.readouterr()
    assert "_DPRD_COMPLETE" in out
    assert f"complete_{shell}" in out
    assert err == ""


def test_installing_writes_a_script_that_the_shell_starts_with(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["--install-completion"]) == 0
    script = tmp_path / ".bash_completions" / "dprd.sh"
    assert "bash completion installed in" in capsys.readouterr().out
    assert "complete -o default -F _dprd_completion dprd" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
    subprocess.run(["bash", "-n", script], check=True)
