"""What a wheel holds, and that it works outside of any checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("data_modules", "fer_lightning")
SHARE = "share/fer_lightning"
FER = ("-m", "fer_lightning")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what a wheel is built from, which is not littered by building."""
    folder = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    built = tmp_path_factory.mktemp("built")
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(built)], cwd=source, check=True, capture_output=True)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a command of the installed wheel in an empty folder, where nothing of a checkout is found."""
    prefix, empty = tmp_path_factory.mktemp("prefix"), tmp_path_factory.mktemp("empty")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*pip, "--prefix", str(prefix), str(wheel)], check=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(prefix), "platbase": str(prefix)})
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FER_")}
    variables |= {"PYTHONPATH": packages, "PYTHONSAFEPATH": "1", "WANDB_MODE": "disabled"}

    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=empty, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder, run.experiments = empty, prefix / SHARE / "experiments"
    return run


def test_the_wheel_holds_every_file_of_the_packages_and_the_experiments(source, wheel):
    files = [path for name in PACKAGES for path in (source / name).rglob("*") if path.is_file()]
    expected = {path.relative_to(source).as_posix() for path in files if "egg-info" not in str(path)}
    zoo = {f"fer_lightning/zoo/{name}" for name in ("zoo.yaml", "faces.safetensors", "faces.md")}
    assert {"data_modules/py.typed", "fer_lightning/py.typed", *zoo} < expected
    experiments = {path.relative_to(source).as_posix() for path in (source / "experiments").rglob("*.yaml")}
    assert "experiments/systems/ceflnet.yaml" in experiments

    names = ZipFile(wheel).namelist()
    held = {name for name in names if not name.split("/")[0].endswith((".dist-info", ".data"))}
    assert held == expected
    shared = {name.partition(f".data/data/{SHARE}/")[2] for name in names if f".data/data/{SHARE}/" in name}
    assert shared == experiments


@pytest.mark.slow
def test_a_wheel_knows_its_experiments_and_tables_outside_of_a_checkout(installed):
    code = "from fer_lightning.experiments.system import experiments_folder as found; print(found())"
    assert Path(installed("-c", code).strip()) == installed.experiments.resolve()
    assert "ceflnet_authors" in installed(*FER, "experiments", "ceflnet")
    assert "ceflnet_6" in installed(*FER, "tables")


@pytest.mark.slow
def test_a_wheel_predicts_and_trains_outside_of_a_checkout(installed):
    shutil.copy(ROOT / "docs" / "prediction.jpg", installed.folder)
    installed(*FER, "predict", "prediction.jpg", "--no-video")
    assert (installed.folder / "predictions" / "all-videos.csv").is_file()
    few = ("--data.dataset.init_args.subjects", "8", "--data.dataset.init_args.workers", "1")
    installed(*FER, "train", "lmed_synthetic", "--size", "small", "--trainer.max_epochs", "1", *few)
    (report,) = installed.folder.glob("runs/*/1-0/report/index.html")
    assert report.stat().st_size > 10_000
