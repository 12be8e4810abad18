"""What a wheel holds: the packages as they lie in the repository, with the files that are not Python."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
PACKAGES = ("data_modules", "fer_lightning")


def test_the_wheel_holds_every_file_of_the_packages(tmp_path):
    source, built = tmp_path / "source", tmp_path / "built"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    files = [path for package in PACKAGES for path in (source / package).rglob("*") if path.is_file()]
    expected = {path.relative_to(source).as_posix() for path in files}
    zoo = {f"fer_lightning/zoo/{name}" for name in ("zoo.yaml", "faces.safetensors", "faces.md")}
    assert {"data_modules/py.typed", "fer_lightning/py.typed", *zoo} < expected

    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(built)], cwd=source, check=True, capture_output=True)

    (wheel,) = built.glob("*.whl")
    held = {name for name in ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert held == expected
