"""Jobs as a whole: gone on with, the same in other hands; on Ray where that is installed."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dprd_cli.distributed.detect import DetectOptions
from dprd_cli.distributed.engines import LoopEngine
from dprd_cli.distributed.job import run_job
from dprd_cli.distributed.pieces import find_content
from dprd_cli.distributed.results import parquet_results
from dprd_cli.distributed.storage import RemoteFolder
from dprd_cli.errors import DataError, InterruptedRun, UsageError
from paths import ROOT


class BrokenEngine(LoopEngine):
    """Does some pieces, and then something befalls it."""

    def __init__(self, count, befalls):
        self.count, self.befalls = count, befalls

    def run(self, pieces, make):
        for number, report in enumerate(super().run(pieces, make), start=1):
            if number == self.count:
                self.befalls()
            yield report


def die():
    raise SystemExit("killed")


@pytest.fixture
def job(images, tiny_checkpoint, json_results, tmp_path):
    """Give what runs the job into a folder."""
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in images))

    def start(out, engine=None, size=2, **options):
        contents = find_content([], [str(tmp_path / "names.txt")], [], size)
        return run_job(contents, json_results(out), DetectOptions(tiny_checkpoint, "cpu", **options), engine)

    return start


def test_a_job_that_was_killed_goes_on_and_ends_as_one_that_was_not(job, json_results, images, tmp_path):
    whole = job(tmp_path / "whole")
    assert (whole.pieces, whole.done_before, whole.done, whole.images, whole.unreadable) == (4, 0, 4, 8, 2)
    with pytest.raises(DataError, match=r"^2 of 8 images could not be read; their rows say why \(error\)$"):
        whole.raise_for_failures()
    with pytest.raises(SystemExit):
        job(tmp_path / "broken", BrokenEngine(2, die))
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").rglob("piece-*")}
    assert len(kept) == 2
    again = job(tmp_path / "broken")
    assert (again.done_before, again.done, again.images) == (2, 2, 4)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    rows = json_results.read(tmp_path / "broken")
    assert rows == json_results.read(tmp_path / "whole")
    assert [row["file"] for row in rows] == images
    assert any(row["detections"] for row in rows)
    done = job(tmp_path / "broken")
    assert (done.done_before, done.done, done.images) == (4, 0, 0)
    done.raise_for_failures()


def test_a_signal_ends_it_after_the_piece_at_hand(job, json_results, tmp_path):
    summary = job(tmp_path / "out", BrokenEngine(1, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert summary.to_json()["interrupted"]
    with pytest.raises(InterruptedRun, match="pieces left: 3, the same line goes on") as caught:
        summary.raise_for_failures()
    assert caught.value.exit_code == 143
    assert len(json_results.read(tmp_path / "out")) == 2
    assert str(job(tmp_path / "out")).startswith("6 images; pieces: 3 of 4, 1 were there already, in ")


def test_other_settings_are_another_job(job, tmp_path):
    job(tmp_path / "out")
    for options, said in (({"min_score": 0.5}, "min_score"), ({"batch_size": 2}, "batch_size")):
        with pytest.raises(UsageError, match=f"holds a job that differs in {said}; "):
            job(tmp_path / "out", **options)
    with pytest.raises(UsageError, match="differs in images, pieces; "):
        job(tmp_path / "out", size=3)


@pytest.fixture
def s3(monkeypatch):
    """Give a bucket of a server that stands for S3: `pip install "moto[server,s3]"`."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    arrow = pytest.importorskip("pyarrow.fs")
    server.start()
    _, port = server.get_host_and_port()
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    arrow.FileSystem.from_uri("s3://bucket?allow_bucket_creation=true")[0].create_dir("bucket")
    yield "s3://bucket"
    server.stop()


def test_s3_in_and_out(s3, images, tiny_checkpoint, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    results = parquet_results(f"{s3}/out")
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name in images[:2]:
            archive.add(name, os.path.basename(name))
    put = RemoteFolder(s3)
    for number in (0, 1, 4):
        put.write(f"in/{number}.png", Path(images[number]).read_bytes())
    put.write("in/0.tar", (tmp_path / "0.tar").read_bytes())
    put.write("names.txt", f"{s3}/in/1.png\n{s3}/in/gone.png\n".encode())

    def start():
        contents = find_content([f"{s3}/in"], [f"{s3}/names.txt"], [], 2)
        return run_job(contents, results, DetectOptions(tiny_checkpoint, "cpu"))

    first = start()
    assert (first.pieces, first.images, first.unreadable) == (4, 7, 2)
    again = start()
    assert (again.done_before, again.images) == (4, 0)
    rows = []
    for name in sorted(name for name in put.names() if name.endswith(".parquet")):
        rows += parquet.read_table(io.BytesIO(put.read(name))).to_pylist()
    names = ["0.png", "1.png", "4.png", "0.tar/0.png", "0.tar/1.png", "1.png", "gone.png"]
    assert [row["file"] for row in rows] == [f"{s3}/in/{name}" for name in names]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False, False, True]
    assert rows[0]["detections"] == rows[3]["detections"] != []


@pytest.mark.slow
@pytest.mark.parametrize("kill", ["worker", "job"])
def test_a_ray_job_that_is_hit_gives_the_rows_of_one_process(tmp_path, kill):
    pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    line = [sys.executable, str(ROOT / "scripts" / "ray_job.py"), str(tmp_path), "--images", "600"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*line, "--kill", kill], capture_output=True, text=True, env=environment, timeout=1500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each name once, in order: True; rows equal to one process's: True" in done.stdout
    assert json.loads((tmp_path / "ray" / "job.json").read_text())["pieces"] == 12
