"""Runs as jobs: what is submitted, what comes back, and what is said when something is wrong."""

import sys
import textwrap

import pytest

from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.cli.main import main
from fer_lightning.experiments import cluster as module
from fer_lightning.experiments import jobs
from fer_lightning.experiments.cluster import Cluster, read_options
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.training_job import TrainingJob
from fer_lightning.tables import cross_validation
from fer_lightning.tables.plan import TableRequest, plan
from tests.tables.test_reproduce import finish
from tests.tables.test_table import MADE

REQUESTS = [
    ExperimentRequest("ceflnet_dfew", name=name, seed=seed, arguments=("--data.size", "32"))
    for name, seed in (("good", 0), ("broken", 0), ("good", 1))
]

SBATCH = """
import os, re, subprocess, sys
from pathlib import Path
script = Path(sys.argv[1])
Path(__file__).with_name("submitted").write_text(script.read_text())
array = re.search(r"--array=0-(\\d+)", script.read_text())
for task in range(int(array[1]) + 1) if array else [None]:
    own = {"SLURM_JOB_ID": "12", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1"}
    if task is not None:
        own |= {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": str(task)}
    subprocess.Popen(["bash", str(script)], env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Submitted batch job 12")
"""
SRUN = """
import os, sys
arguments = sys.argv[1:]
start = arguments.index("--error") + 2  # behind submitit's own options is the command
os.execvp(arguments[start], arguments[start:])
"""


@pytest.fixture
def stub(tmp_path):
    """A command in the place of `fer train`: it keeps its arguments, and fails for variants named `broken`."""
    script = tmp_path / "stub.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        with Path({str(tmp_path / "asked")!r}).open("a") as file:
            file.write(" ".join(sys.argv[1:]) + "\\n")
        print("trained")
        sys.exit(3 if "broken" in sys.argv else 0)
        """)
    )
    return sys.executable, str(script)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Slurm's commands, which run the tasks of a job at once; returns the folder where `sbatch` leaves the script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, content in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", "")):
        (folder / name).write_text(f"#!{sys.executable}\n{content}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def asked(tmp_path):
    return sorted((tmp_path / "asked").read_text().splitlines())


EXPECTED = sorted(" ".join(request.train_arguments()) for request in REQUESTS)


def test_jobs_of_this_machine_train_each_run_and_name_what_failed(tmp_path, stub, capsys):
    local = Cluster("local", tmp_path / "jobs", command=stub, interval=0.02)
    assert local.train_all(REQUESTS) == [REQUESTS[1]]
    assert asked(tmp_path) == EXPECTED
    said = capsys.readouterr().out
    assert said.count("submitted 1 job (") == 3, "one after another"
    assert f"{REQUESTS[0].run.path} is finished" in said
    assert f"{REQUESTS[1].run.path} did not finish; its messages: {tmp_path / 'jobs'}" in said
    logs = sorted((tmp_path / "jobs").glob("*/*_log.out"))
    assert all("trained" in log.read_text() for log in logs)
    assert len(logs) == 3
    assert local.train_all([]) == []


def test_slurm_gets_one_array_with_the_options(tmp_path, stub, slurm, capsys):
    options = read_options(
        ["timeout_min=600", "gpus_per_node=1", "slurm_partition=gpu", "slurm_setup=module load cuda"]
    )
    cluster = Cluster("slurm", tmp_path / "jobs", options, stub, interval=0.02)
    assert cluster.train_all(REQUESTS) == [REQUESTS[1]]
    assert asked(tmp_path) == EXPECTED
    script = (slurm / "submitted").read_text()
    for line in ("array=0-2%3", "time=600", "gpus-per-node=1", "partition=gpu", "job-name=fer", "signal=USR2@90"):
        assert f"#SBATCH --{line}\n" in script
    assert "module load cuda\n" in script
    said = capsys.readouterr().out
    assert "submitted 3 jobs (12_0, 12_1, 12_2)" in said
    assert "3 of 3, job 12_" in said


def test_a_day_is_the_time_limit_unless_another_is_given(tmp_path, stub, slurm):
    Cluster("slurm", tmp_path / "jobs", command=stub, interval=0.02).train_all(REQUESTS[:1])
    assert "#SBATCH --time=1440\n" in (slurm / "submitted").read_text()


def test_stopping_the_command_says_how_to_go_on(tmp_path, stub, slurm, monkeypatch, capsys):
    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", stop)
    patient = (sys.executable, "-c", "import time; time.sleep(2)")
    with pytest.raises(KeyboardInterrupt):
        Cluster("slurm", tmp_path / "jobs", command=patient).train_all(REQUESTS)
    said = capsys.readouterr().out
    assert "the jobs go on without this command (scancel 12 stops them)" in said
    assert "The same command goes on: finished runs are skipped" in said


def test_a_requeued_job_does_the_same_again():
    job = TrainingJob((sys.executable, "-c", "raise SystemExit(4)"))
    assert job() == 4
    again = job.checkpoint()
    assert again.function == job
    assert again.result() == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["timeout"], r"expected key=value, such as timeout_min=600; found 'timeout'"),
        (["slrum_partition=gpu"], r"Unknown executor 'slrum' in parameter 'slrum_partition'\. Expected options"),
        (["slurm_partion=gpu"], r"Unknown argument 'partion' for executor 'slurm'.*Valid arguments: .*partition"),
        (["timeout_min=long"], r"\"timeout_min\" expected type <class 'int'> \(but value: \"long\"\)"),
        (["gpus=1"], r"'gpus' need to be prefixed by an executor name"),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Cluster("local", tmp_path / "jobs", read_options(options))


def test_options_are_numbers_truth_values_or_texts():
    read = read_options(["a=1", "b=0.5", "c=true", "d=1:30:00", "e=x=y", "slurm_setup=module load a"])
    assert read == {"a": 1, "b": 0.5, "c": True, "d": "1:30:00", "e": "x=y", "slurm_setup": ["module load a"]}


def test_what_is_missing_on_this_machine_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r'--jobs slurm: Could not detect "srun".*run the command on a machine that'):
        Cluster("slurm", tmp_path / "jobs")
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(["reproduce", "ceflnet_6", "--jobs", "slurm"]) == 2
    assert "pip install 'fer_lightning[slurm]'" in capsys.readouterr().err
    assert main(["reproduce", "ceflnet_6", "--job-options", "timeout_min=1"]) == 2
    assert "add --jobs slurm" in capsys.readouterr().err


# Commands


@pytest.fixture
def submitted(monkeypatch):
    """In the place of jobs: made predictions; lists the runs that are submitted together."""
    together = []

    def train_all(self, requests):
        together.append(sorted("/".join(request.run.path.parts[-2:]) for request in requests))
        for request in requests:
            if request.name != "broken":
                finish(request, 1.0)
        return [request for request in requests if request.name == "broken"]

    monkeypatch.setattr(Cluster, "train_all", train_all)
    monkeypatch.setattr(jobs, "train_all", lambda requests: pytest.fail("trained in the command's own process"))
    return together


def test_a_tables_runs_are_submitted_together_after_what_they_start_from(tmp_path, submitted):
    (tmp_path / "mine.yaml").write_text(MADE)
    table = str(tmp_path / "mine.yaml")
    assert main(["reproduce", table, "--seeds", "3", "--jobs", "local"]) == 0
    runs = ["ceflnet_synthetic_wild.plain/1-3", "ceflnet_synthetic_wild/1-3"]
    assert submitted == [["stills_synthetic_stills/1-3"], runs]
    assert (tmp_path / "results" / "mine.small" / "table.csv").is_file()
    assert main(["reproduce", table, "--seeds", "3", "--jobs", "local"]) == 0
    assert len(submitted) == 2, "what is finished is not submitted again"
    assert not any(planned.untrained for planned in plan(TableRequest(table, seeds=(3,))))


def test_the_runs_of_a_cross_validation_are_submitted_together(monkeypatch, submitted):
    prepared = []
    monkeypatch.setattr(cross_validation, "prepare_data_and_weights", lambda *_: pytest.fail("trained weights"))
    monkeypatch.setattr(VideoDataModule, "prepare_data", lambda self: prepared.append(self))
    arguments = [
        "cv",
        "ceflnet_dfew",
        "--data",
        "synthetic",
        "--folds",
        "1",
        "--seeds",
        "0",
        "1",
        "--job-options",
        "timeout_min=9",
    ]
    assert main([*arguments, "--jobs", "local"]) == 0
    assert submitted == [
        ["stills_synthetic_stills/1-0", "stills_synthetic_stills/1-1"],
        ["ceflnet_synthetic/1-0", "ceflnet_synthetic/1-1"],
    ]
    assert len(prepared) == 1
