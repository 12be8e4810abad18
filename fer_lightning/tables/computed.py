"""Values of rows that need no training: settings, numbers of clips, parameters, multiply-adds."""

from collections import Counter

import torch

from data_modules.datasets.dataset import DatasetNotFoundError
from data_modules.loading.transforms import ClipAugmentation
from fer_lightning.ensemble.training import resolved
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.tables.model_costs import comparable, read_costs
from fer_lightning.tables.plan import TableRequest, row_data, row_request, row_size
from fer_lightning.tables.table import PaperTable, Row
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.cost import count_parameters, multiply_adds
from fer_lightning.training.random_batch import batch_for

Computed = dict[str, dict[str, object]]
"""Name of a row -> column -> value."""


def computed_values(asked: TableRequest) -> Computed:
    """Returns what a table of settings, of cost or of clips says here; of tables of results what systems cost.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a row's configuration is not valid, or has no such setting.
    """
    table = asked.read()
    if table.kind == "results":
        return measured_costs(table, asked) if "clips_per_second" in table.columns else {}
    if table.kind == "counts":
        return counted_clips(table, asked.data)
    rows = [row for row in table.rows if row.runs_at(asked.size or "paper")]
    return {row.name: _values(table, row, asked) for row in rows}


def measured_costs(table: PaperTable, asked: TableRequest) -> Computed:
    """Returns what `fer bench models` has measured of the systems that rows run as they are.

    Returns:
        Name of a row -> its columns about cost and the `device`, or why a speed is `unmeasured`.

    Raises:
        ValueError: the file of costs is damaged.
    """
    costs = read_costs()
    values: Computed = {}
    for row in table.rows:
        if not row.system:
            continue
        size = row_size(row, row_data(table, row, asked.data), asked.size)
        cost = comparable(costs, size).get(row.system)
        if row.arguments_at(size):
            values[row.name] = {"unmeasured": "their settings are not those of the systems that are measured"}
        elif cost is None:
            tried = [each.problem for each in costs if (each.system, each.size) == (row.system, size) and each.problem]
            values[row.name] = {"unmeasured": tried[0] if tried else f"`fer bench models --size {size}` measures them"}
        else:
            views = evaluation_views(row_request(row, row_data(table, row, asked.data), size, "1", 0))
            values[row.name] = {
                "parameters": cost.parameters,
                "multiply_adds": cost.multiply_adds and views * cost.multiply_adds,
                "clips_per_second": cost.views_per_second and _rounded(cost.views_per_second / views),
                "device": f"{cost.device}, {cost.precision}",
            }
    return values


def _rounded(speed: float) -> float:
    """Returns a speed with the digits that a repetition would have, too."""
    return round(speed) if speed >= 10 else float(f"{speed:.2g}")


def evaluation_views(request: ExperimentRequest) -> int:
    """Returns the number of views of a clip over which an experiment averages its predictions."""
    data = read_model(request)["data"]
    poses = len(ClipAugmentation(**data["augmentation"]).eval_poses) if data["augmentation"] else 1
    return poses * int(data["sampler"].get("init_args", {}).get("eval_views", 1))


def _values(table: PaperTable, row: Row, asked: TableRequest) -> dict[str, object]:
    request = row_request(row, row_data(table, row, asked.data), asked.size or "paper", "1", 0)
    if table.kind == "cost":
        return cost_values(request)
    return {"value": setting(request, row.setting)} if row.setting else {}


def counted_clips(table: PaperTable, data: str | None = None) -> Computed:
    """Counts the clips of splits and emotions in the data sets on this machine; data sets that are not here have none.

    Args:
        table: of kind `counts`.
        data: name of a data set that takes the place of the rows' own.

    Raises:
        ValueError: an annotation of a data set is invalid.
    """
    counts = {name: _clips(name) for name in {data or row.data or table.data for row in table.rows}}
    found = ((row.name, counts[data or row.data or table.data], row.setting) for row in table.rows if row.setting)
    return {name: {"value": clips[key]} if clips else {} for name, clips, key in found}


def _clips(data: str) -> Counter[str]:
    """Returns the clips of a data set by `<split>.<emotion>` and `<split>.total`; none if it is not here."""
    dataset = build_dataset(data)
    try:
        records = dataset.records()
    except DatasetNotFoundError:
        return Counter()
    return Counter(f"{record.split}.{key}" for record in records for key in (record.emotion, "total"))


def setting(request: ExperimentRequest, key: str) -> object:
    """Returns a setting of a request's resolved configuration.

    Raises:
        ValueError: the configuration has no such setting.
    """
    value: object = resolved(request)
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"{request.experiment} has no setting {key!r}: there is no {part!r}")
        value = value[part]
    return value


def cost_values(request: ExperimentRequest) -> dict[str, object]:
    """Counts a model's parameters, frozen ones included, and the multiply-adds of a forward pass for one view.

    The model is built without memory for its numbers, so that large ones can be counted anywhere.
    """
    with torch.device("meta"):
        cli = FerCLI(request.command_line(), run=False)
    model = cli.model
    assert isinstance(model, VideoClassifier)
    batch = batch_for(model.inputs, cli.datamodule, 1)
    counted = multiply_adds(model, batch.to(torch.device("meta")))
    return {"parameters": count_parameters(model), "multiply_adds": counted}
