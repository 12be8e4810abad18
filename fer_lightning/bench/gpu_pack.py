"""Packs what `fer bench gpu` needs on a machine without a network: rendered faces, FER2013's images, some packages."""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, files, metadata, version
from pathlib import Path

from data_modules.datasets.dataset import data_root
from fer_lightning.bench.gpu_parts import SUBJECTS

LIMIT = 60_000_000
"""Bytes of all files together."""
EVERY = 24
"""One row in so many of FER2013's table is packed: 1496 images."""
OWN = "fer_lightning"
PACKAGES = (
    *("jsonargparse", "docstring-parser", "typeshed-client"),  # which read configurations
    *("lazy-loader", "filelock", "rich", "markdown-it-py", "mdurl", "pygments"),
    *("pytest", "pluggy", "iniconfig", "packaging"),
    "facenet-pytorch",  # MTCNN with its weights
)
"""Packages in pure Python that a machine with PyTorch and Lightning may lack."""


def pack(folder: Path, limit: int = LIMIT) -> None:
    """Packs into a folder, which is made anew: `data/` for FER_DATA and `packages/` for PYTHONPATH.

    Args:
        folder: it is replaced only when everything is packed.
        limit: of all files together, in bytes.

    Raises:
        ValueError: the folder holds something else, or the pack is larger than the limit; the folder stays as it was.
    """
    if folder.exists() and {path.name for path in folder.iterdir()} - {"data", "packages"}:
        raise ValueError(f"{folder} holds other files than a pack; expected a new folder, or one of an earlier pack")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        made = Path(name) / "pack"
        _pack_faces(made / "data")
        _pack_fer2013(data_root() / "fer2013" / "fer2013.csv", made / "data" / "fer2013" / "fer2013.csv")
        left_out = _pack_packages(made / "packages")
        _pack_own_metadata(made / "packages")
        sizes = {part: size_of(made / part) for part in ("data", "packages")}
        said = ", ".join(f"{part} {size / 1e6:.1f} MB" for part, size in sizes.items())
        if sum(sizes.values()) > limit:
            raise ValueError(
                f"the pack has {sum(sizes.values()) / 1e6:.1f} MB ({said}); expected {limit / 1e6:.0f} MB at most"
            )
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    print(f"{folder}: {said}" + (f"; not installed here and left out: {', '.join(left_out)}" if left_out else ""))


def size_of(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _pack_faces(data: Path) -> None:
    """Renders a small set and prepares its faces, as `fer data prepare` does."""
    environment = {name: value for name, value in os.environ.items() if name != "FER_STORE"}
    command = [
        sys.executable,
        "-m",
        "fer_lightning",
        "data",
        "prepare",
        "synthetic",
        "--dataset.subjects",
        str(SUBJECTS),
    ]
    subprocess.run(command, env=environment | {"FER_DATA": str(data.absolute())}, check=True)


def _pack_fer2013(table: Path, target: Path) -> None:
    """Writes each `EVERY`-th row of FER2013's table, if it is there."""
    if not table.is_file():
        print(f"{table} does not exist: FER2013 is not packed")
        return
    target.parent.mkdir(parents=True)
    with table.open(newline="") as source, target.open("w", newline="") as file:
        rows, writer = csv.reader(source), csv.writer(file)
        writer.writerow(next(rows))
        writer.writerows(row for number, row in enumerate(rows) if number % EVERY == 0)


def _pack_packages(folder: Path) -> list[str]:
    """Copies the files of `PACKAGES` and returns those that are not installed."""
    left_out = []
    for package in PACKAGES:
        try:
            found = files(package) or []
        except PackageNotFoundError:
            left_out.append(package)
            continue
        for file in found:
            if not {"__pycache__", ".."} & set(file.parts):
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), target)
    return left_out


def _pack_own_metadata(folder: Path) -> None:
    """Writes the suite's metadata, which tell the version of a checkout that is not installed."""
    target = folder / f"{OWN}-{version(OWN)}.dist-info" / "METADATA"
    target.parent.mkdir(parents=True)
    target.write_text(str(metadata(OWN)), encoding="utf-8")
