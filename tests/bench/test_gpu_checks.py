"""The checks of a GPU: what a part's failure or slowness leaves, the file, the read-me's table, and the pack."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest

import fer_lightning
from fer_lightning.bench import gpu_checks, gpu_pack
from fer_lightning.bench.gpu_checks import BUDGETS, run_part
from fer_lightning.bench.gpu_parts import PARTS as FUNCTIONS
from fer_lightning.cli.bench import PARTS
from fer_lightning.cli.main import main
from fer_lightning.runs.folder import commit
from fer_lightning.tables.gpu_table import EMPTY, results_file
from fer_lightning.tables.readme import current_text

LACKING = "av,decord,insightface,wandb,onnxruntime,ai_edge_litert,pandas,pytorchvideo,argcomplete,defusedxml,openpyxl"
MARKED = "Before\n<!-- gpu -->\nold\n<!-- end -->\nafter\n"


def part(program: str, left: float = 60.0, budget: float = 60.0):
    """A part that is a program of a line, which has `write`."""
    begin = "import json, os, sys, time; file = open(sys.argv[2], 'a')\n"
    begin += "def write(**row): print(json.dumps(row), file=file, flush=True)\n"
    return run_part("made", [sys.executable, "-c", begin + program], left, budget)


def test_a_part_that_fails_keeps_its_rows_and_its_reason():
    done = part("write(ms=1.5); write(ms=2)")
    assert (done.status, done.rows, done.error) == ("done", [{"ms": 1.5}, {"ms": 2}], "")
    failed = part("write(ms=1); sys.exit('no such kernel')")
    assert (failed.status, failed.rows, failed.error) == ("failed", [{"ms": 1}], "no such kernel")
    killed = part("write(ms=1); file.write('{\"half'); file.flush(); os.abort()")
    assert (killed.status, killed.rows) == ("failed", [{"ms": 1}])


def test_a_part_that_takes_too_long_is_stopped_with_all_that_it_started(tmp_path):
    started = (
        f"import subprocess; child = subprocess.Popen(['sleep', '60']); open({str(tmp_path / 'pid')!r}, 'w').write"
    )
    stopped = part(f"{started}(str(child.pid)); write(ms=1); time.sleep(60)", budget=2.0)
    assert (stopped.status, stopped.rows, stopped.error) == ("stopped", [{"ms": 1}], "not done after 2 s")
    state = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_part_without_time_or_data_is_not_run():
    late = part("write(ms=1)", left=5.0)
    assert (late.status, late.rows, late.error) == ("not run", [], "5 s were left")
    lacking = part("write(left_out='no such data')")
    assert (lacking.status, lacking.rows, lacking.error) == ("not run", [], "no such data")


def test_every_part_has_a_budget_and_all_fit_into_the_time_of_the_first_ones():
    assert tuple(FUNCTIONS) == PARTS
    assert tuple(BUDGETS) == PARTS
    assert sum(BUDGETS[name] for name in ("steps", "tests", "ceflnet", "variants")) < 570


def test_one_part_after_another_goes_into_the_file_and_the_next_runs_whatever_comes_of_the_first(monkeypatch, capsys):
    asked = []

    def made(name, command, left, budget):
        asked.append((name, command, budget))
        program = "sys.exit('lost the GPU')" if name == "steps" else "write(times_as_fast=6.25)"
        return replace(part(program, left, budget), name=name)

    monkeypatch.setattr(gpu_checks, "run_part", made)
    assert main(["bench", "gpu", "--device", "cpu", "--small", "--parts", "steps", "ceflnet"]) == 1
    assert "steps: failed" in capsys.readouterr().out
    content = json.loads(results_file().read_bytes())
    assert [each["status"] for each in content["parts"]] == ["failed", "done"]
    assert content["parts"][1]["rows"] == [{"times_as_fast": 6.25}]
    assert content["device"]["type"] == "cpu"
    assert content["device"]["versions"]["torch"]
    assert asked[0][1][-5:] == ["--parts", "steps", "--device", "cpu", "--small"]
    assert asked[0][2] == 200
    assert main(["bench", "gpu", "--device", "cpu", "--small", "--parts", "tests", "steps"]) == 1
    content = json.loads(results_file().read_bytes())
    states = {each["name"]: each["status"] for each in content["parts"]}
    assert states == {"steps": "failed", "tests": "done", "ceflnet": "done"}, "in their order, each with its commit"
    assert all(each["commit"] == commit() for each in content["parts"])
    assert main(["bench", "gpu", "--device", "cpu", "--parts", "ceflnet"]) == 0
    content = json.loads(results_file().read_bytes())
    assert [each["name"] for each in content["parts"]] == ["ceflnet"], "those of small size are not kept"


STEP = {"system": "ceflnet", "variant": "default", "precision": "bf16-mixed", "clips": 8, "frames": 35}
STEP |= {"milliseconds": 50.04, "clips_per_second": 160.0, "mebibytes": 2048.0, "share": 1.126}
FAILED = {"system": "av", "error": "OOM"}


def test_the_readme_says_what_was_measured_on_which_gpu_or_that_nothing_was():
    assert EMPTY in current_text(MARKED)
    parts = [
        {
            "name": "steps",
            "status": "done",
            "seconds": 90.0,
            "error": "",
            "rows": [STEP, {"system": "av", "error": "OOM"}],
        },
        {"name": "variants", "status": "done", "seconds": 9.0, "error": "", "rows": [STEP | {"variant": "fp32"}]},
        {"name": "loader", "status": "not run", "seconds": 0.0, "error": "3 s were left", "rows": []},
        {"name": "tests", "status": "failed", "seconds": 9.0, "error": "x\n1 of 2 tests failed", "rows": []},
    ]
    device = {"type": "cuda", "name": "A Card", "mebibytes": 81920, "versions": {"torch": "2.11.0", "cuda": "13.0"}}
    content = {"format": "fer_lightning gpu checks 1", "device": device, "size": "paper", "parts": parts}
    results_file().parent.mkdir(parents=True)
    results_file().write_text(json.dumps(content))
    text = current_text(MARKED)
    assert text.startswith("Before\n<!-- gpu -->\nA Card, 80 GiB; PyTorch 2.11.0, CUDA 13.0\n")
    assert "| `ceflnet`, bf16-mixed | 8 x 35 | 50.0 | 160 | 2.0 GiB | 1.13 |" in text
    assert "| `av` | OOM |" in text
    assert "| fp32, bf16-mixed | 8 x 35 | 50.0 | 160 | 2.0 GiB | 1.13 |" in text
    assert "| loader | 0 | not run: 3 s were left |" in text
    assert "| tests | 9 | failed: 1 of 2 tests failed |" in text
    assert text.endswith("<!-- end -->\nafter\n")

    results_file().write_text(json.dumps(content | {"device": {"type": "cpu"}}))
    assert EMPTY in current_text(MARKED), "a processor's figures are not a GPU's"
    results_file().write_text(json.dumps(content | {"format": "other"}))
    with pytest.raises(ValueError, match="expected 'fer_lightning gpu checks 1'"):
        current_text(MARKED)


@pytest.fixture
def small_pack(monkeypatch, tmp_path):
    """A pack of a file instead of rendered faces, without a package that is installed everywhere."""

    def written(data):
        data.mkdir(parents=True)
        (data / "faces").write_bytes(bytes(1_200_000))

    monkeypatch.setattr(gpu_pack, "_pack_faces", written)
    monkeypatch.setattr(gpu_pack, "PACKAGES", ("jsonargparse", "nosuchpackage"))
    table = tmp_path / "data" / "fer2013" / "fer2013.csv"
    table.parent.mkdir(parents=True)
    table.write_text("emotion,pixels,Usage\n" + "".join(f"{row % 7},{row},Training\n" for row in range(50)))


def test_the_pack_holds_a_part_of_fer2013_and_the_packages_that_are_installed(small_pack, tmp_path, capsys):
    folder = tmp_path / "gpu_pack"
    assert main(["bench", "pack-gpu", "--out", str(folder)]) == 0
    assert "left out: nosuchpackage" in capsys.readouterr().out
    rows = (folder / "data" / "fer2013" / "fer2013.csv").read_text().splitlines()
    assert rows == ["emotion,pixels,Usage", "0,0,Training", "3,24,Training", "6,48,Training"]
    packed = {each.metadata["Name"]: each.version for each in distributions(path=[str(folder / "packages")])}
    assert packed["fer_lightning"] == fer_lightning.__version__, "a checkout that is not installed has no version"
    assert not list((folder / "packages").glob("*.pth"))
    command = [sys.executable, "-S", "-c", "import jsonargparse; print(jsonargparse.__file__)"]
    found = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(folder / "packages")})
    assert found.returncode == 0 or "No module named 'yaml'" in found.stderr, found.stderr


def test_a_pack_that_is_too_large_is_refused_with_its_size(small_pack, tmp_path):
    folder = tmp_path / "gpu_pack"
    with pytest.raises(ValueError, match=r"the pack has 1\.\d MB \(data 1\.2 MB, packages 0\.\d MB\); expected 1 MB"):
        gpu_pack.pack(folder, limit=1_000_000)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_a_folder_of_other_files_is_not_replaced(small_pack, tmp_path, capsys):
    (tmp_path / "gpu_pack").mkdir()
    (tmp_path / "gpu_pack" / "thesis.tex").touch()
    assert main(["bench", "pack-gpu", "--out", str(tmp_path / "gpu_pack")]) == 2
    assert "holds other files than a pack" in capsys.readouterr().err
    assert (tmp_path / "gpu_pack" / "thesis.tex").exists()


@pytest.mark.slow
def test_the_checks_run_on_a_machine_without_decoder_detectors_and_wandb(tmp_path, monkeypatch):
    """All of it on the processor: packed here, run as by `make check-gpu`."""
    gpu_pack.pack(tmp_path / "gpu_pack")
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}:{tmp_path / 'gpu_pack' / 'packages'}")
    monkeypatch.setenv("FER_DATA", str(tmp_path / "gpu_pack" / "data"))
    for name in ("loader", "predict", "fer2013"):
        command = [sys.executable, "-m", "tests.missing_packages", LACKING, "fer_lightning", "bench", "gpu"]
        result = run_part(name, [*command, "--device", "cpu", "--small", "--parts", name], 300, 300)
        assert result.status == ("not run" if name == "fer2013" else "done"), result.error
        assert bool(result.rows) == (name != "fer2013")
