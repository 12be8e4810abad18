"""What every output of a model says about it: what it was trained on, how good it is, what nobody has checked."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from data_modules.datasets.dataset import VideoDataset
from data_modules.utils.checksum import cached_sha256
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.summary import OPTIMISTIC, summary_line
from fer_lightning.runs.folder import RunFolder, run_folder
from fer_lightning.runs.training_facts import TrainingFacts
from fer_lightning.training.loading import TrainedModel

LIMITS_OF_FACES = (
    "No figure here is of faces that look far up, down or to the side, or that are smaller than the model's crop.",
)
GENERAL_LIMITS = (
    "It names expressions as annotators of its data set did. It does not know what a person feels.",
    "Nobody has measured how its errors differ between ages, sexes, origins, glasses, beards, masks or poses, since "
    "its data do not tell these: measure it on people like yours before you rely on it.",
    "Not for decisions about people, such as recruiting, teaching, policing or health.",
)
UNKNOWN = "unknown"


@dataclass(frozen=True)
class ModelLabel:
    """The honest label of a model, or of several that answer together.

    Args:
        model: class name, or the method of an ensemble.
        dataset: name of the data set that it was trained on; names of several are joined by commas.
        world: what was seen in training, such as `rendered faces`; `unknown` if the file does not say.
        result: metrics of the reported split with intervals and N, or why they are not known.
        limits: sentences about what the model cannot be expected to do.
        file: path of the weights; for an ensemble, of its run.
        sha256: of each file of weights, in hexadecimal.
        commit: of the code that trained it.
        version: of this suite.
        date: day on which the label was made, YYYY-MM-DD.
    """

    model: str
    dataset: str
    world: str
    result: str
    limits: tuple[str, ...]
    file: str
    sha256: tuple[str, ...]
    commit: str
    version: str
    date: str

    @property
    def summary(self) -> str:
        """The label in a few sentences, for the terminal and the head of other files."""
        return f"{self.model}, {self.trained_on}; {self.result}. {self.not_validated} {GENERAL_LIMITS[0]}"

    @property
    def trained_on(self) -> str:
        """What was seen in training, in a few words."""
        return f"training {UNKNOWN}" if self.dataset == UNKNOWN else f"trained on {self.dataset} ({self.world})"

    @property
    def not_validated(self) -> str:
        """One or two sentences that say for whom nobody has checked the model."""
        if "rendered" in self.world and "real" not in self.world:
            return "It has seen rendered faces only: it is not made for real people."
        if self.world == UNKNOWN:
            return "The file does not say what it was trained on: it is not validated for anything."
        return f"It is not validated on other people, cameras and settings than those of {self.dataset}."

    @property
    def origin(self) -> str:
        """File, checksum, versions and date in a line."""
        sums = ", ".join(f"SHA-256 {each[:16]}" for each in self.sha256)
        trained = f"trained at commit {self.commit}" if self.commit else "commit of the training unknown"
        return f"{Path(self.file).name}, {sums}; {trained}; fer_lightning {self.version}, {self.date}"

    def to_dict(self) -> dict[str, object]:
        """Returns all of it as plain values."""
        return asdict(self) | {"trained_on": self.trained_on, "not_validated": self.not_validated}


def label_of(models: tuple[TrainedModel, ...], run: RunFolder | None = None, method: str = "") -> ModelLabel:
    """Returns the label of a trained model, or of the models of an ensemble.

    Args:
        models: one, or all of an ensemble.
        run: the ensemble's own run, whose result counts; None for a single model.
        method: of the ensemble.
    """
    facts = [_facts(model) for model in models]
    datasets = [each.dataset or _name(model.dataset) for each, model in zip(facts, models, strict=True)]
    result = facts[0].result if run is None else facts_of_run(run).result
    return ModelLabel(
        method or type(models[0].model).__name__,
        _joined(datasets),
        _joined([world_of(model.dataset) for model in models]),
        result or "its result is not known, as its run is not beside it",
        limits_of([model.dataset for model in models]),
        str(models[0].checkpoint if run is None else run.path),
        tuple(cached_sha256(model.checkpoint) for model in models),
        ", ".join(dict.fromkeys(each.commit for each in facts if each.commit)),
        version("fer_lightning"),
        datetime.now(UTC).date().isoformat(),
    )


def facts_of_run(run: RunFolder, epoch: int | None = None) -> TrainingFacts:
    """Returns what a run says about its training; without texts if it is not finished.

    Args:
        run: the run.
        epoch: of the weights that it is asked about, counted from 0; None for those that were evaluated. Of others, the
            result is said to be another epoch's, as of the last one where another was chosen.
    """
    try:
        info, table = run.read_info(), PredictionTable.read(run.predictions("test"))
    except (FileNotFoundError, ValueError):
        return TrainingFacts()
    result = f"reported split: {' '.join(summary_line(table).split())}"
    if info.selection == "best_on_test":
        result += f"; {OPTIMISTIC.removesuffix('.')}"  # sentences go on after a result
    if epoch not in (None, info.epoch):
        result += f" (of epoch {info.epoch + 1}, which the run chose; these are the weights of epoch {epoch + 1})"
    return TrainingFacts(info.dataset, result, info.commit)


def world_of(dataset: type[VideoDataset] | None) -> str:
    """Returns what is seen or heard in a data set: `real faces`, `rendered voices`, and so on."""
    if dataset is None:
        return UNKNOWN
    return f"{'rendered' if dataset.is_rendered else 'real'} {'faces' if dataset.has_pictures else 'voices'}"


def limits_of(datasets: list[type[VideoDataset] | None]) -> tuple[str, ...]:
    """Returns what a model that was trained on these data sets cannot be expected to do."""
    known = [dataset for dataset in datasets if dataset is not None]
    own = [limit for dataset in known for limit in dataset.limits]
    faces = LIMITS_OF_FACES if len(known) < len(datasets) or any(each.has_pictures for each in known) else ()
    return tuple(dict.fromkeys((*own, *faces, *GENERAL_LIMITS)))


def _facts(model: TrainedModel) -> TrainingFacts:
    """Returns the facts that a file brings with it, or those of the run in whose folder a checkpoint is."""
    if model.facts is not None:
        return model.facts
    return facts_of_run(RunFolder(run_folder(model.checkpoint)), model.epoch)


def _name(dataset: type[VideoDataset] | None) -> str:
    return UNKNOWN if dataset is None else dataset.name


def _joined(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))
