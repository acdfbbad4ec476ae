"""Without what POSIX alone has, everything goes the same way; no other system is tried here."""

import json
import re
import shutil
import subprocess
import sys

from dprd_cli.ops import linear
from dprd_cli.training.loop import train
from package_source import SOURCES
from paths import ROOT, TESTS, TINY, visible
from training_runs import losses, same_state, tiny


def test_train_resume_predict_and_report_need_no_posix(tmp_path, monkeypatch):
    monkeypatch.setattr(linear, "has_slow_products", lambda: False)  # without /proc nothing tells the maker
    here, run, stopped, out = (tmp_path / name for name in ("here", "run", "stopped", "predictions"))
    here.mkdir()
    train(tiny(), here)
    shutil.copytree(here, stopped)
    (stopped / "last.pt").unlink()  # as after a crash in the last step
    image = ROOT / "assets" / "images" / "val_000000.png"
    lines = [
        ["train", "--config", TINY, "--out", run, "--workers", "2"],
        ["train", stopped, "--resume"],
        ["predict", image, "--weights", run, "--out", out, "--score-thresh", "0", "--save-parts"],
        ["report", run],
    ]
    texts = json.dumps([[str(word) for word in line] for line in lines])
    command = [sys.executable, str(TESTS / "without_posix.py"), texts]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.splitlines()[-1:] == ["[0, 0, 0, 0]"], done.stderr
    assert "warning" not in done.stderr
    for folder in (run, stopped):
        same_state(folder / "last.pt", here / "last.pt")
        assert losses(folder) == losses(here)
    assert {"results.json", "val_000000.png"} <= set(visible(out))
    assert (run / "report.html").is_file()


def test_what_posix_alone_has_is_asked_for_in_three_modules():
    """Each has another way for systems without."""
    posix = re.compile(
        r"^ *import (fcntl|grp|pty|pwd|resource|syslog|termios|tty)\b|"
        r"\bos\.(fork|getuid|geteuid|killpg|mkfifo|pread|pwrite|setsid|statvfs|sysconf|uname)\(|"
        r"\bsignal\.(SIGALRM|SIGPIPE|SIGUSR[12]|setitimer)\b",
        re.MULTILINE,
    )
    users = {module for module, source in SOURCES.items() if posix.search(source)}
    assert users == {"files.system", "runtime.memory", "runtime.workers"}
