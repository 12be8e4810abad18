"""Processes that torchrun or Slurm starts on two machines: all begin at once, and come to what one process does."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from pytorch_lightning.utilities import rank_zero_only

from data_modules.prepare.faces import store_for
from fer_lightning.cli import slurm
from fer_lightning.cli.main import main
from fer_lightning.experiments import fit
from fer_lightning.experiments.request import ExperimentRequest
from tests.faults.forked import Forked, members
from tests.faults.test_processes import MINUTE, RANKS
from tests.small_runs import MadeFaces, at_step
from tests.training.test_devices import (  # noqa: F401 - fixtures
    COMMAND,
    FULL,
    alone,
    data,
    own_run,
    refuse_differences,
    refuse_other_results,
)

NODES = ("--trainer.num_nodes", "2", "--trainer.devices", "2", "--trainer.strategy", "ddp")
VARIABLES = {
    "torchrun": (
        {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1"},
        *("RANK", "LOCAL_RANK", "GROUP_RANK"),
    ),
    "Slurm": (
        {"SLURM_JOB_ID": "123", "SLURM_JOB_NAME": "fer", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}
        | {"SLURM_NODELIST": "127.0.0.1", "SLURM_NNODES": "2"},
        *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    ),
}
"""What all processes are told, then the names of a process's number, its number on its machine, and its machine's."""


def free_port() -> str:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return str(bound.getsockname()[1])


def places(launcher: str, port: str = "0") -> list[dict[str, str]]:
    """What a launcher tells each of two processes on each of two machines."""
    shared, *own = VARIABLES[launcher]
    return [
        shared | {"MASTER_PORT": port} | dict(zip(own, map(str, (rank, rank % 2, rank // 2)), strict=True))
        for rank in range(4)
    ]


def start(launcher: str, folder: Path) -> list[Forked]:
    """Starts a training as a launcher does."""
    started = []
    for rank, place in enumerate(places(launcher, free_port())):

        def prepare(rank=rank, place=place):
            os.environ.update(place)
            rank_zero_only.rank = rank  # as Lightning reads it when it is imported

        started.append(Forked([*COMMAND, *FULL, *NODES], folder / f"{rank}.txt", prepare))
    return started


@pytest.fixture
def new_data(tmp_path, monkeypatch):
    """A folder in which nothing is prepared yet; lists who prepares it, which takes a second."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "new"))
    prepare, prepared = MadeFaces.prepare, tmp_path / "prepared.txt"

    def slowly(self):
        if not store_for(self).read_index():
            with prepared.open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(1)
        prepare(self)

    monkeypatch.setattr(MadeFaces, "prepare", slowly)
    return prepared


@pytest.mark.parametrize("launcher", VARIABLES)
def test_processes_on_two_machines_begin_at_once(alone, new_data, tmp_path, launcher):  # noqa: F811
    """One of the four prepares the data; with it, and with their gradients, they come to what one process does."""
    ended = [each.end() for each in start(launcher, tmp_path)]
    assert [status for status, _ in ended] == [0] * 4, ended
    assert len(new_data.read_text().split()) == 1, "one prepares"
    assert [said.count("epoch 3/3") for _, said in ended] == [1, 0, 0, 0]
    refuse_differences(own_run(), alone)


def test_a_job_on_two_machines_is_queued_again_once_and_goes_on(alone, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Slurm sends the signal to all four processes, in the middle of the second epoch."""
    stub, asked = tmp_path / "bin" / "scontrol", tmp_path / "asked.txt"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    stub.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{stub.parent}:{os.environ['PATH']}")
        at_step(patch, 1, 1, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        ended = [each.end() for each in start("Slurm", tmp_path)]
    assert [status for status, _ in ended] == [128 + signal.SIGUSR1] * 4, ended
    assert asked.read_text() == "requeue 123\n"
    said = "".join(text for _, text in ended)
    for once in ("it will go on after epoch 1", "stopped by SIGUSR1", "the job 123 is queued again"):
        assert said.count(once) == 1, said
    assert main([*COMMAND, *FULL]) == 0
    assert "goes on after epoch 1" in capsys.readouterr().out
    refuse_differences(own_run(), alone)


def torchrun(*program: str) -> list[str]:
    """Runs a program as the four processes of two agents, which meet at 127.0.0.1; what they say, with the status."""
    rendezvous = ("--nnodes", "2", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", free_port())
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    agents = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", *rendezvous, "--node-rank", str(node)),
                *(*program, *COMMAND, *FULL, *NODES),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for node in (0, 1)
    ]
    try:
        said = [agent.communicate(timeout=500)[0] for agent in agents]
        assert not [left for agent in agents for left in members(agent.pid)]
    finally:
        for agent in agents:
            with suppress(ProcessLookupError):
                os.killpg(agent.pid, signal.SIGKILL)
    return [f"{text}\nstatus {agent.returncode}" for text, agent in zip(said, agents, strict=True)]


@pytest.mark.slow
def test_torchrun_on_two_machines_makes_the_tables_of_one_process(alone, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FER_DATA", str(tmp_path / "new"))
    said = torchrun("-m", "fer_lightning")
    assert all(each.endswith("status 0") for each in said), said
    assert sum(each.count("report: ") for each in said) == 1, said
    assert own_run().finished
    refuse_other_results(own_run(), alone)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 3])
def test_a_process_that_is_killed_ends_those_of_both_machines(alone, tmp_path, monkeypatch, capsys, rank):  # noqa: F811
    """Within a minute; one process then goes on with the run."""
    script, mark = tmp_path / "ranks.py", tmp_path / "mark"
    script.write_text(RANKS)
    for name, value in {"RANK_AT_FAULT": str(rank), "FAULT": "killed", "MARK": str(mark)}.items():
        monkeypatch.setenv(name, value)
    said = torchrun(str(script))
    assert time.time() - float(mark.read_text()) < MINUTE
    assert all(each.endswith("status 1") for each in said), said
    assert "looks like a bug" not in "".join(said)
    assert main([*COMMAND, *FULL]) == 0
    assert "goes on after epoch 1" in capsys.readouterr().out
    refuse_differences(own_run(), alone)


def test_other_processes_than_those_of_the_launcher_are_refused(monkeypatch, capsys):
    """Four trainings of one process each would write into one folder."""
    for name, value in places("torchrun")[3].items():
        monkeypatch.setenv(name, value)
    assert main([*COMMAND, *FULL]) == 2
    said = capsys.readouterr().err
    assert "torchrun has started 4 processes, but this training has 1 devices on each of 1 machines" in said
    assert "set --trainer.devices to the processes of a machine and --trainer.num_nodes" in said
    assert not own_run().path.exists()


def test_what_a_training_needs_first_is_no_part_of_it(monkeypatch):
    """It is trained in a process that must not wait for those of torchrun or Slurm."""
    told = places("torchrun")[1] | places("Slurm")[1]
    for name, value in ({"KEPT": "1"} | told).items():
        monkeypatch.setenv(name, value)
    calls = []
    monkeypatch.setattr(subprocess, "run", lambda command, check, env: calls.append((command, env)))
    fit.train_required_run(ExperimentRequest("stills_synthetic_stills"))
    ((command, env),) = calls
    assert command[3:5] == ["train", "stills_synthetic_stills"]
    assert not told.keys() & env.keys()
    assert env["KEPT"] == "1"


@pytest.mark.parametrize("place", [{}, {"RANK": "0", "LOCAL_RANK": "0"}, {"SLURM_PROCID": "0"}])
def test_only_the_first_process_has_a_job_queued_again(monkeypatch, place):
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    assert slurm.is_first_process()
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "2")
            assert not slurm.is_first_process(), name
