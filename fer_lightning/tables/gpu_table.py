"""The table of what was measured on a GPU, made from the file of `fer bench gpu`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_lightning.tables.results import results_root

FORMAT = "fer_lightning gpu checks 1"
EMPTY = "empty: `make check-gpu` has not run on a GPU yet"
HEADS = ("clips x frames", "ms", "clips a second", "GPU memory", "times its networks")


def results_file() -> Path:
    """Returns the path of the file that the table is made from."""
    return results_root() / "gpu_checks.json"


def read_checks() -> dict[str, Any]:
    """Returns what the file has, or a device of the type `none` and no parts if there is no file.

    Raises:
        ValueError: the file has another format.
    """
    path = results_file()
    content: dict[str, Any] = {"format": FORMAT, "device": {"type": "none"}, "parts": []}
    if path.is_file():
        content = json.loads(path.read_bytes())
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} has the format {content.get('format')!r}; expected {FORMAT!r}: make it anew")
    return content


def gpu_table() -> str:
    """Returns the table as Markdown; its column says that it is empty as long as there is no file of a GPU.

    Raises:
        ValueError: the file has another format.
    """
    content = read_checks()
    if content["device"]["type"] != "cuda":
        return f"| what `make check-gpu` measures | on a GPU |\n|---|---|\n| each part | {EMPTY} |\n"
    device = content["device"]
    versions = device["versions"]
    lines = [
        f"{device['name']}, {device['mebibytes'] / 1024:.0f} GiB; PyTorch {versions['torch']}, CUDA {versions['cuda']}",
        "",
        *_head("training step at paper size"),
        *(_step_line(f"`{row['system']}`", row) for row in rows_of(content, "steps")),
        "",
        *_head("CEFLNet's step with another setting"),
        *(_step_line(row["variant"], row) for row in rows_of(content, "variants")),
        "",
        "| part | seconds | state |",
        "|---|---:|---|",
        *(f"| {part['name']} | {part['seconds']:.0f} | {_state(part)} |" for part in content["parts"]),
    ]
    return "\n".join(lines) + "\n"


def rows_of(content: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """Iterates over the rows of a part."""
    for part in content["parts"]:
        if part["name"] == name:
            yield from part["rows"]


def _head(title: str) -> tuple[str, str]:
    return f"| {' | '.join((title, *HEADS))} |", f"|---|{'---:|' * len(HEADS)}"


def _step_line(name: str, row: dict[str, Any]) -> str:
    if "error" in row:
        return f"| {name} | {_cell(row['error'])} | | | | |"
    share = "" if row["share"] is None else f"{row['share']:.2f}"
    figures = f"{row['milliseconds']:.1f} | {row['clips_per_second']:.0f} | {row['mebibytes'] / 1024:.1f} GiB"
    return f"| {name}, {row['precision']} | {row['clips']} x {row['frames']} | {figures} | {share} |"


def _state(part: dict[str, Any]) -> str:
    """Returns a part's state, with its figures where they are one line."""
    if part["status"] != "done":
        return _cell(f"{part['status']}: {(part['error'].splitlines() or [''])[-1]}")
    first = part["rows"][-1] if part["rows"] else {}
    if "times_as_fast" in first:
        return f"done: {first['times_as_fast']:.1f} times as fast as frame by frame in fp32"
    if "waiting" in first:
        return f"done: waits for {100 * first['waiting']:.1f} % of a step with {first['workers']} workers"
    if "times_real_time" in first:
        return f"done: {first['times_real_time']:.1f} times as fast as the video lasts"
    if "test" in first:
        passed = sum(row["outcome"] == "passed" for row in part["rows"])
        return f"done: {passed} of {len(part['rows'])} tests passed, the others were skipped"
    return "done"


def _cell(text: str) -> str:
    return text.replace("|", "/")[:150]
