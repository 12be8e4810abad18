"""Leaderboards: for each data set a table with a row for each system that runs on it, made from one file.

The file, `experiments/leaderboard.yaml`, says what all of them share (`table:`), and for some data sets what others
have published about systems on them (`published:`); the rows are those of the matrix of systems and data sets.
"""

from pathlib import Path
from typing import Any

from fer_lightning.experiments.request import ExperimentRequest, fits
from fer_lightning.experiments.system import data_names, experiments_folder, read_settings, system_names

LEADERBOARD = "leaderboard"


def leaderboard_file() -> Path:
    """Returns the file of which all leaderboards are made."""
    return experiments_folder() / f"{LEADERBOARD}.yaml"


def leaderboard_names() -> list[str]:
    """Lists the leaderboards, `leaderboard_<data>`, in the order of the data sets."""
    return [f"{LEADERBOARD}_{data}" for data in data_names()] if leaderboard_file().is_file() else []


def leaderboard(name: str) -> dict[str, Any]:
    """Returns a leaderboard as the content of a table's file.

    Args:
        name: one of `leaderboard_names`.

    Raises:
        ValueError: the file of the leaderboards has another form.
    """
    data = name.removeprefix(f"{LEADERBOARD}_")
    content = read_settings(leaderboard_file())
    try:
        shared, published = content["table"], content["published"].get(data, {})
        title = str(shared["title"]).format(data=data)
        note = " ".join(str(each["note"]) for each in (shared, published) if "note" in each)
        rows = _rows(data, list(published.get("rows", ())))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{leaderboard_file()}: expected `table:` with a title, and under `published:` data sets with `rows:`, "
            f"each `of:` a system ({type(error).__name__}: {error})"
        ) from error
    return {**shared, "title": title, "data": data, "note": note, "rows": rows}


def _rows(data: str, published: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of all systems that run on a data set, each before what is published about it.

    Args:
        data: name of the data set.
        published: rows with published values and the name of a system, `of`, which the suite may not have.
    """
    systems = [name for name in system_names() if fits(ExperimentRequest(f"{name}_{data}"))]
    quoted = [({key: row[key] for key in row if key != "of"}, row["of"]) for row in published]
    rows: list[dict[str, Any]] = []
    for system in systems:
        rows += [{"name": system, "system": system}, *(row for row, of in quoted if of == system)]
    return [*rows, *(row for row, of in quoted if of not in systems)]
