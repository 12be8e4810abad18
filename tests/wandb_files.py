"""Reads back what an offline run wrote for Weights & Biases: a log of LevelDB's blocks that holds protobuf records."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto import wandb_internal_pb2

BLOCK = 32768
FULL, LAST = 1, 4  # kinds of chunks; a record is one full chunk, or a first, some middle ones and a last


@dataclass
class WrittenRun:
    """What a `.wandb` file says of a run."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)  # metric or pattern -> the metric of its horizontal axis
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> type, aliases, metadata, files
    ended: bool = False
    folder: Path = Path()

    def table(self, key: str) -> list[dict[str, Any]]:
        """The rows of a table that was shown."""
        place = self.summary.get(f"{key}/path") or self.summary[key]["path"]  # as earlier versions write it
        content = json.loads((self.folder / "files" / place).read_text())
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def written_runs(folder: Path) -> list[WrittenRun]:
    """The offline runs in a folder, in the order of their beginning; ends W&B's process, which may still write."""
    wandb.teardown()
    return [_read(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def _read(path: Path) -> WrittenRun:
    run = WrittenRun(folder=path.parent)
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        _add(run, record, record.WhichOneof("record_type"))
    return run


def _records(content: bytes) -> Iterator[bytes]:
    assert content[:4] == b":W&B"
    record, position = b"", 7
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:  # a chunk's head is never divided
            position += BLOCK - position % BLOCK
        _, length, kind = struct.unpack_from("<IHB", content, position)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (FULL, LAST):
            yield record
            record = b""


def _add(run: WrittenRun, record: Any, kind: str) -> None:
    if kind == "run":
        told = record.run
        run.id, run.group, run.job_type, run.project = told.run_id, told.run_group, told.job_type, told.project
        run.name, run.tags = told.display_name, list(told.tags)
        run.config |= _values(told.config.update)
    elif kind == "config":
        run.config |= _values(record.config.update)
    elif kind == "summary":
        run.summary |= _values(record.summary.update)
    elif kind == "history":
        run.history.append(_values(record.history.item))
    elif kind == "metric":
        run.steps[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    elif kind == "artifact":
        told = record.artifact
        run.artifacts[told.name] = {
            "type": told.type,
            "aliases": list(told.aliases),
            "metadata": json.loads(told.metadata or "{}"),
            "files": [entry.path for entry in told.manifest.contents],
        }
    elif kind == "exit":
        run.ended = True


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
