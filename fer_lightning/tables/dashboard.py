"""A dashboard in Weights & Biases for the runs of a table, an ablation or an experiment: a saved view of a project."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_modules.utils.messages import first_line
from fer_lightning.experiments.request import ExperimentRequest, split_name
from fer_lightning.experiments.system import similar_names
from fer_lightning.tables.ablation import ablation_file, ablation_names, read_ablation, with_table
from fer_lightning.tables.plan import TableRequest, plan
from fer_lightning.tables.table import known_tables

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import LinePlot, ScatterPlot
    from wandb_workspaces.workspaces import Section, Workspace

ROW = "labels.row"
"""Where the configuration of a W&B run says which row of a table it belongs to."""
CURVES = ("inner/war", "inner/loss", "train/loss")
COSTS = {
    "cost/multiply_adds": "multiply-adds of a clip",
    "cost/parameters": "parameters",
    "cost/ms_per_clip": "milliseconds for a clip",
}
ACCURACIES = ("test/war", "test/uar", "test/macro_f1")


def run_folders(asked: TableRequest) -> tuple[str, ...]:
    """Returns the names of the folders whose runs a dashboard shows, as regular expressions.

    Args:
        asked: the name of a table, an ablation or an experiment, and the data set and size at which it is run.

    Raises:
        FileNotFoundError: there is no such table, ablation, experiment or data set.
        ValueError: a file is damaged.
    """
    if asked.name in ablation_names():
        asked = with_table(read_ablation(ablation_file(asked.name)), asked)
    elif asked.name not in known_tables() and not asked.name.endswith((".yaml", ".yml")):
        _refuse_unknown(asked.name)
        return (_escaped(ExperimentRequest(asked.name, asked.data, asked.size)) + r"(\.[^/]+)?",)
    tested_here = [planned for planned in plan(asked) if not planned.row.tested_on]  # a training's accuracy is its own
    found = [_escaped(request) for planned in tested_here for request in planned.requests]
    return tuple(dict.fromkeys(found))


def _refuse_unknown(experiment: str) -> None:
    """Refuses the name of no experiment.

    Raises:
        FileNotFoundError: no experiment has that name.
    """
    try:
        split_name(experiment)
    except FileNotFoundError as error:
        similar = similar_names(experiment, [*known_tables(), *ablation_names()])
        raise FileNotFoundError(f"no table or ablation {experiment!r}, {similar}; {error}") from error


def _escaped(request: ExperimentRequest) -> str:
    """Returns the name of the folder of a request's runs as a regular expression."""
    return re.sub(r"([.+])", r"\\\1", request.run.path.parent.name)


def workspace(name: str, folders: Sequence[str], entity: str, project: str) -> "Workspace":
    """Returns the dashboard of some runs, which is not saved yet.

    Args:
        name: of the dashboard.
        folders: of the runs, as regular expressions.
        entity: the user or team of W&B whose project it is.
        project: the project.

    Raises:
        ValueError: the package that makes dashboards is not installed.
    """
    try:
        import wandb_workspaces.expr as expr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise ValueError("dashboards need another package: pip install 'fer_lightning[dashboards]'") from error
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=_sections(),
        runset_settings=ws.RunsetSettings(
            query=f"^({'|'.join(folders)})/",
            regex_query=True,
            filters=expr.And(expr.Metric("JobType").isin(["train", "ablation"])),
            pinned_columns=[f"summary:{name}" for name in (*ACCURACIES, *COSTS)],
        ),
    )


def _sections() -> "list[Section]":
    """Returns the sections of a dashboard; runs that differ in fold and seed only are one curve or bar."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    bars = [
        wr.BarPlot(
            title=name,
            metrics=[wr.SummaryMetric(name)],
            groupby=wr.Config(ROW),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for name in ACCURACIES
    ]
    tables = [wr.WeavePanelSummaryTable(table_name=f"report/{name}") for name in ("confusion", "classes")]
    rows = [wr.RunComparer(diff_only="split"), wr.WeavePanelSummaryTable(table_name="report/predictions")]
    return [
        ws.Section(name="Accuracy on the reported split", panels=bars, is_open=True),
        ws.Section(name="Curves", panels=[_curve(name) for name in CURVES], is_open=True),
        ws.Section(name="Accuracy and cost", panels=[_scatter(*cost) for cost in COSTS.items()], is_open=True),
        ws.Section(name="Confusion", panels=[*tables, wr.MediaBrowser(media_keys=["report/confusion"])], is_open=True),
        ws.Section(name="Waiting for data", panels=[_curve("train/data_wait")]),
        ws.Section(name="Runs and clips", panels=rows),
    ]


def _curve(name: str) -> "LinePlot":
    """Returns a plot of a logged value over epochs, mean and deviation of each row."""
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=name,
        x=wr.Metric("epoch"),
        y=[wr.Metric(name)],
        title_x="epoch",
        groupby=wr.Config(ROW),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )


def _scatter(name: str, title: str) -> "ScatterPlot":
    """Returns a plot of accuracy against a cost, a point for each run."""
    import wandb_workspaces.reports.v2 as wr

    accuracy = wr.SummaryMetric(ACCURACIES[0])
    return wr.ScatterPlot(title=f"WAR and {title}", x=wr.SummaryMetric(name), y=accuracy, log_x=True)


def content(made: "Workspace") -> dict[str, Any]:
    """Returns a dashboard as it would be sent, without a network.

    The package is a preview and has no public way to this; a test holds what is used of it against a file.
    """
    return dict(made._to_model().model_dump(by_alias=True, exclude_none=True))


def require_key() -> None:
    """Refuses to go on without an API key of W&B.

    Raises:
        ValueError: there is none.
    """
    import wandb

    if not wandb.login(prompt=False):
        raise ValueError(
            "W&B has no API key on this machine, or is offline: `wandb login` takes one, so does WANDB_API_KEY; "
            "--dry-run prints the dashboard without W&B"
        )


def save(made: "Workspace") -> str:
    """Saves a dashboard as a new view of its project and returns its address.

    Args:
        made: the dashboard; without an entity, it is that of the API key.

    Raises:
        ValueError: W&B cannot be reached, or does not take it.
    """
    import wandb

    try:
        made.entity = made.entity or wandb.Api().default_entity or ""
        return str(made.save().url)
    except Exception as error:  # W&B raises its own, the system's, and those of its connection
        raise ValueError(
            f"W&B did not take the dashboard ({type(error).__name__}: {first_line(error)}); is there a network, and a "
            f"project {made.project} with runs? --dry-run prints the dashboard without W&B"
        ) from error
