"""The page of a table: one self-contained HTML file that sorts, filters and draws, without a network."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from data_modules.utils.files import atomic_write
from fer_lightning.report.html import render, script_json
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
    )
    path = stored.folder / FILE
    atomic_write(path, page.encode())
    return path


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
