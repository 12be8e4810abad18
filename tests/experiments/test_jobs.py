"""Runs that are trained at once on this machine: how they share it, what is said of them, and how they are stopped."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer_lightning.cli.main import main
from fer_lightning.experiments import jobs
from fer_lightning.experiments.request import ExperimentRequest

REQUESTS = [
    ExperimentRequest("ceflnet_dfew", name=name, seed=seed) for name, seed in (("a", 0), ("broken", 0), ("a", 1))
]
MEETING = """
touch {folder}/here.$$
for _ in $(seq 200); do
    if [ $(ls {folder} | grep -c here) -ge 2 ]; then break; fi
    sleep 0.05
done
[ $(ls {folder} | grep -c here) -ge 2 ] || exit 9
"""


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Puts a script in the place of the command that trains a run; runs are in a folder of their own."""
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 0)

    def script(lines):
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\n" + lines.format(folder=tmp_path))
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    return script


def is_dead(process: int) -> bool:
    """Whether a process has ended and nobody has asked for its status."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_runs_are_trained_at_once_and_those_that_fail_are_named(process, tmp_path, capsys):
    """Each process waits until there are two; the arguments say whether it is the broken one."""
    process(MEETING + 'echo "$@"\ncase "$*" in *broken*) exit 3;; esac\n')
    assert jobs.train_all(REQUESTS, at_once=2) == [REQUESTS[1]]
    said = capsys.readouterr().out
    folder = tmp_path / "runs" / "jobs"
    assert f"3 runs, 2 at once; messages in {folder}" in said
    assert f"{REQUESTS[1].run.path} did not finish; its messages: {folder}/ceflnet_dfew.broken-1-0.log" in said
    assert said.count("is finished (") == 2
    assert "3 of 3: " in said
    told = (folder / "ceflnet_dfew.a-1-1.log").read_text()
    assert told.split() == ["-m", "fer_lightning", "train", *REQUESTS[2].train_arguments()]
    assert jobs.train_all([], at_once=2) == []


@pytest.mark.parametrize(("stated", "expected"), [(None, ["4"]), ("7", ["7"])])
def test_runs_share_the_processors(process, tmp_path, monkeypatch, stated, expected):
    monkeypatch.setattr(jobs, "usable_processors", lambda: 9)
    if stated:
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
    process('echo "$OMP_NUM_THREADS" >> {folder}/seen\n')
    assert jobs.train_all(REQUESTS, at_once=2) == []
    assert (tmp_path / "seen").read_text().split() == expected * 3
    (tmp_path / "seen").unlink()
    assert jobs.train_all(REQUESTS[:1], at_once=2) == []
    assert (tmp_path / "seen").read_text().split() == ([stated] if stated else []), "one run has all of them"


@pytest.mark.parametrize(
    ("visible", "at_once", "expected"),
    [
        (None, None, ["0", "1"]),
        ("2,3", None, ["2", "3"]),
        ("GPU-8932f937, GPU-a52b1c33", None, ["GPU-8932f937", "GPU-a52b1c33"]),
        ("MIG-1f2a,MIG-9c7d", None, ["MIG-1f2a", "MIG-9c7d"]),
        ("5,1,-1,0", None, ["1", "5"]),  # CUDA sees none from the first negative one on
        (None, 4, ["0", "0", "1", "1"]),
        ("5,1", 3, ["1", "5", "5"]),
        (None, 1, ["0", "0", "0", "0"]),
    ],
)
def test_runs_have_one_of_the_gpus_each_that_the_command_may_use(
    process, tmp_path, monkeypatch, visible, at_once, expected
):
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 2)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    process('echo "$CUDA_VISIBLE_DEVICES" >> {folder}/seen\nsleep 0.5\n')
    requests = [ExperimentRequest("ceflnet_dfew", seed=seed) for seed in range(len(expected))]
    assert jobs.train_all(requests, at_once) == []
    assert sorted((tmp_path / "seen").read_text().split()) == expected


def test_a_command_that_is_stopped_stops_its_runs(process, tmp_path, monkeypatch):
    """Also what a run trains first, in a process of its own."""
    process(
        "sh -c 'touch {folder}/first.$$; exec sleep 60' &\n"
        "trap 'echo stopped > {folder}/stopped.$$; exit 1' TERM\ntouch {folder}/here.$$\nwhile :; do sleep 0.05; done\n"
    )

    def interrupted(_):
        if len(list(tmp_path.glob("here.*"))) == len(list(tmp_path.glob("first.*"))) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "time", SimpleNamespace(sleep=interrupted, monotonic=lambda: 0.0))
    with pytest.raises(KeyboardInterrupt):
        jobs.train_all(REQUESTS, at_once=2)
    begun, stopped = ({path.suffix for path in tmp_path.glob(f"{name}.*")} for name in ("here", "stopped"))
    assert begun == stopped, "and the third one was not begun"
    left = [int(path.suffix[1:]) for path in (*tmp_path.glob("here.*"), *tmp_path.glob("first.*"))]
    assert len(left) == 4
    for _ in range(100):  # the system takes a moment to bury an orphan
        left = [each for each in left if Path(f"/proc/{each}/stat").exists() and not is_dead(each)]
        time.sleep(0.05)
    assert not left


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at-once", "0"], "--at-once 0: expected 1 or more"),
        (["--at-once", "2", "--jobs", "local"], "--at-once 2: expected 1 or more, without --jobs"),
        (["--at-once", "2", "--hours", "1"], "--hours is for rows one after another"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message, capsys):
    assert main(["reproduce", "ceflnet_6", "--data", "synthetic", *options]) == 2
    assert message in capsys.readouterr().err
