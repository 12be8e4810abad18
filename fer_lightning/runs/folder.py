"""The folder of a run, `runs/<experiment>/<fold>-<seed>/`: its paths, `run.json` and `config.yaml`."""

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from data_modules.utils.files import atomic_write
from fer_lightning.runs.version_0_1_0 import upgrade_configuration

SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is several times as fast
LIBRARIES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "timm",
    "numpy",
    "opencv-python-headless",
    "av",
)


def versions() -> list[tuple[str, str]]:
    """Returns the versions of Python and of the libraries that results depend on, as (name, version)."""
    installed = [("python", platform.python_version())]
    for name in LIBRARIES:
        try:
            installed.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            installed.append((name, "not installed"))
    return installed


CODE = (":/fer_lightning", ":/data_modules", ":/experiments", ":(top,exclude)*.md")
"""What of the repository decides results, as git names it. Finished rows write results and tables, which do not."""


def commit() -> str:
    """Returns the commit of this code, with `+changes` if it was changed since; empty outside of a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", *CODE], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def read_yaml(path: Path) -> Any:
    """Reads a YAML file.

    Raises:
        ValueError: the file is not valid YAML; the message names the file and the line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=SAFE_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as YAML; correct it or write it again: {error}") from error


@dataclass(frozen=True)
class RunInfo:
    """The facts about a run that its report shows beside the tables; saved as `run.json`."""

    experiment: str
    model: str  # class name
    dataset: str  # name of the data set
    class_names: tuple[str, ...]
    fold: str
    seed: int
    selection: str  # inner, last or best_on_test
    epoch: int  # the chosen epoch: files count epochs from 0, messages and reports from 1
    store: str  # folder of the face crops
    parameters: int
    multiply_adds: int | None = None  # of all evaluation views of one clip
    seconds_per_clip: float | None = None  # of their forward passes, `batch_size` clips at once
    batch_size: int | None = None
    device: str = ""
    precision: str = ""
    seconds: float = 0.0  # of training and evaluation; 0 if they are not known
    faces: str = ""  # in what they differ from those of the system's paper, a sentence
    exclusive_in: str = ""  # what the inner split and training do not share, see `VideoDataset.exclusive_in`
    classes_from_stills: tuple[str, ...] = ()  # see `VideoDataset.classes_from_stills`
    split_faults: tuple[str, ...] = ()  # what makes the result misleading, see `VideoDataModule.split_faults`
    commit: str = field(default_factory=commit)
    versions: list[tuple[str, str]] = field(default_factory=versions)


@dataclass(frozen=True)
class RunFolder:
    """The paths inside a run's folder.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.path / "config.yaml"

    @property
    def clips(self) -> Path:
        """The manifest of the clips that the run is trained and evaluated on, without paths, so that data may move."""
        return self.path / "clips.csv"

    @property
    def curves(self) -> Path:
        """CSVLogger's table: a row per logged step, empty cells where a column was not logged."""
        return self.path / "metrics.csv"

    @property
    def watched_epochs(self) -> Path:
        """The folder with an array for each epoch, while the run is trained: the reported split's probabilities."""
        return self.path / "watched"

    @property
    def watched_curves(self) -> Path:
        """The accuracy on the reported split after each epoch, a table as `curves`; written when the run is trained."""
        return self.path / "watched.csv"

    @property
    def watched_choices(self) -> Path:
        """The predicted class of each clip of the reported split after each epoch, (E, N); written with the curves."""
        return self.path / "watched.npy"

    @property
    def checkpoints(self) -> Path:
        """The folder of `last.ckpt` and, with `selection: inner`, `best.ckpt`."""
        return self.path / "checkpoints"

    @property
    def wandb_id(self) -> Path:
        """The id of the run in Weights & Biases."""
        return self.path / "wandb_id.txt"

    @property
    def lock(self) -> Path:
        """An empty file that is locked by the process that trains the run."""
        return self.path / "training.lock"

    @property
    def report(self) -> Path:
        """The report's page; its pictures are in `report/figures/`."""
        return self.path / "report" / "index.html"

    @property
    def finished(self) -> bool:
        """Whether the run was trained, evaluated and reported on."""
        return self.report.exists()

    def tested_on(self, data: str, fold: str) -> "RunFolder":
        """Returns the folder of the test of the run's model that a row of a table reports, on another data set.

        It is not where `fer test` writes by itself: that may be of another checkpoint, or of other faces.
        """
        return RunFolder(self.path / "tested_on" / f"{data}-{fold}")

    def predictions(self, split: str) -> Path:
        """Returns the path of the prediction table of `inner` or `test`.

        Those of the reported split in other epochs than the chosen one are `test_last` and `test_best`.
        """
        return self.path / "predictions" / f"{split}.csv"

    def order_predictions(self, order: str) -> Path:
        """Returns the path of the reported split's prediction table with its frames in another order."""
        return self.predictions(f"test_{order}")

    def outputs(self, split: str) -> Path:
        """Returns the path of the features, attention and frame numbers of a split's clips."""
        return self.path / "outputs" / f"{split}.safetensors"

    def write_info(self, info: RunInfo) -> None:
        """Writes `run.json`."""
        atomic_write(self.path / "run.json", json.dumps(asdict(info), indent=2).encode())

    def read_config(self) -> dict[str, Any]:
        """Reads `config.yaml`; names of earlier versions are replaced by those of today.

        Raises:
            FileNotFoundError: the run was never started.
            ValueError: the file is damaged.
        """
        if not self.config.exists():
            raise FileNotFoundError(
                f"{self.config} is missing: the settings and the data of the run are unknown without it"
            )
        values = read_yaml(self.config)
        if not isinstance(values, dict):
            raise ValueError(f"{self.config} is damaged: expected the settings of a run, found {str(values)[:80]!r}")
        return upgrade_configuration(values)

    def read_info(self) -> RunInfo:
        """Reads `run.json`.

        Raises:
            FileNotFoundError: the run has not been evaluated yet.
            ValueError: the file is damaged, or was written by another version of the suite.
        """
        path = self.path / "run.json"
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing: the run is not evaluated yet; run `fer train` again to resume it"
            )
        try:
            values = json.loads(path.read_text())
            values["class_names"] = tuple(values["class_names"])
            for name in ("classes_from_stills", "split_faults"):  # runs of earlier versions have none
                values[name] = tuple(values.get(name, ()))
            values["versions"] = [(name, version) for name, version in values["versions"]]
            return RunInfo(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged, or was written by another version of the suite ({type(error).__name__}: {error}); "
                f"delete {self.report} and run `fer train` to evaluate the run again"
            ) from error


def run_folder(checkpoint: Path) -> Path:
    """Returns the run's folder for a checkpoint in `checkpoints/`, otherwise the folder of the checkpoint."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
