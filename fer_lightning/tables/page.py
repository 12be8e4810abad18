"""The page of a table: one self-contained HTML file that sorts, filters and draws, without a network."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from data_modules.utils.files import atomic_write
from fer_lightning.report.html import render, script_json
from fer_lightning.tables.columns import BY_NAME, title
from fer_lightning.tables.files import StoredTable
from fer_lightning.tables.results import RowResult

FILE = "index.html"
TEMPLATE = Path(__file__).parent / "templates" / "table.html"


def write_page(stored: StoredTable) -> Path:
    """Writes the page of a table with results and returns its path."""
    labels = stored.table.labels
    content = {
        "rows": [row_content(labels[name], result) for name, result in stored.results.items()],
        "columns": list(stored.table.columns),
        "figures": figures(stored),
        "column": title(stored.table.columns[0]),
    }
    verdicts = [
        asdict(verdict) | {"outcome": verdict.outcome, "text": verdict.text, "sentence": verdict.sentence(labels)}
        for verdict in stored.verdicts
    ]
    page = render(
        TEMPLATE,
        table=stored.table,
        grid=stored.grid(),
        verdicts=verdicts,
        content=script_json(content),
        has_results=bool(stored.results),
        has_figures=bool(content["figures"]),
    )
    path = stored.folder / FILE
    atomic_write(path, page.encode())
    return path


def figures(stored: StoredTable) -> list[dict[str, object]]:
    """Returns what the page draws as the paper's figures: for each axis, lines of points with our values of the first
    column, their intervals, and the published values, which stand beside those of the same data alone.

    On another data set than their own, rows that are the same there are one point.
    """
    table, data = stored.table, stored.asked.data
    column, known = table.columns[0], stored.results
    unit = 100 if column in BY_NAME else 1  # metrics are published in per cent
    same = {(row.system, row.arguments): known[row.name] for row in table.rows if row.name in known}
    lines: dict[str, dict[str, dict[float, dict[str, object]]]] = {}
    for row in table.rows:
        if row.point is None or (data and row.tested_on):
            continue
        result = same.get((row.system, row.arguments)) if data else known.get(row.name)
        values, published = result.by_seed(column) if result else [], row.published.get(column)
        line = data if data and row.data else row.point.line
        lines.setdefault(row.point.axis, {}).setdefault(line, {})[row.point.at] = {
            "at": row.point.at,
            "ours": float(np.mean(values)) if values else None,
            "interval": list(result.intervals.get(column, ())) if result else [],
            "published": published / unit if isinstance(published, (int, float)) and not data else None,
        }
    return [
        {"axis": axis, "lines": [{"name": name, "points": [*points.values()]} for name, points in by_name.items()]}
        for axis, by_name in lines.items()
    ]


def row_content(label: str, result: RowResult) -> dict[str, object]:
    """Returns what the page draws of a row: curves of its runs, its confusion matrix, cost and accuracy."""
    first = result.runs[0]
    confusion = np.sum([np.array(run.confusion) for run in result.runs], axis=0)
    return {
        "label": label,
        "curves": [
            {"run": f"fold {run.fold}, seed {run.seed}", "values": run.curves} for run in result.runs if run.curves
        ],
        "classes": list(first.class_names),
        "confusion": confusion.tolist(),
        "war": float(np.mean(result.by_seed("war"))),
        "interval": list(result.intervals.get("war", ())),
        "cost": first.multiply_adds,
        "parameters": first.parameters,
        "seconds": round(sum(run.seconds for run in result.runs)),
    }
