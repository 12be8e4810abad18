"""Writes files of named tensors row by row, so that memory does not grow with the length of a clip.

The format is safetensors (a JSON header, then the tensors one after another), which is read lazily and never unpickled.
The package's own writer needs all tensors in memory at once.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from data_modules.utils.files import atomic_file, writing_to

IN_MEMORY = 4 * 2**20  # bytes of a tensor above which it is spooled to disk; most clips are smaller
METADATA = "__metadata__"  # the header's entry that is not a tensor
DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "int16": "I16", "uint8": "U8"}


class TensorRows:
    """A tensor (n, ...) that grows row by row."""

    def __init__(self, spool: IO[bytes], folder: Path) -> None:
        self._spool, self._folder = spool, folder  # the folder of the spooled file
        self._first: NDArray[Any] | None = None  # (0, ...), for shape and dtype
        self.count = 0

    def extend(self, rows: NDArray[Any]) -> None:
        """Appends rows (m, ...).

        Raises:
            NotWritableError: the folder cannot be written to.
            ValueError: shape or dtype differ from those of earlier rows.
        """
        if self._first is None:
            self._first = rows[:0]
        if rows.shape[1:] != self._first.shape[1:] or rows.dtype != self._first.dtype:
            raise ValueError(
                f"found rows of shape {rows.shape[1:]} ({rows.dtype}) after rows of {self._first.shape[1:]} "
                f"({self._first.dtype}); expected the same"
            )
        with writing_to(self._folder):
            self._spool.write(np.ascontiguousarray(rows).tobytes())
        self.count += len(rows)

    @property
    def itemsize(self) -> int:
        """Bytes per number; 0 if there are no rows."""
        return 0 if self._first is None else self._first.itemsize

    def header(self, start: int) -> dict[str, object]:
        """Returns the tensor's entry in the header; its data begins at offset `start`."""
        assert self._first is not None
        shape = (self.count, *self._first.shape[1:])
        stop = start + int(np.prod(shape)) * self.itemsize
        return {"dtype": DTYPES[str(self._first.dtype)], "shape": shape, "data_offsets": [start, stop]}

    def copy_to(self, file: IO[bytes]) -> None:
        """Writes all rows to a file."""
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, file)


class TensorFile:
    """Named tensors that are being written; those without rows are omitted."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self._folder, self._cleanup = folder, cleanup
        self._tensors: dict[str, TensorRows] = {}
        self.metadata: Mapping[str, str] = {}

    def __getitem__(self, name: str) -> TensorRows:
        """Returns the tensor of that name, which is created on first access."""
        if name not in self._tensors:
            spool = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._folder))  # noqa: SIM115
            self._tensors[name] = TensorRows(self._cleanup.enter_context(spool), self._folder)
        return self._tensors[name]

    def discard(self, name: str) -> None:
        """Drops a tensor with all its rows."""
        self._tensors.pop(name, None)

    def write_to(self, file: IO[bytes]) -> None:
        """Writes the header, then the tensors, those with the widest numbers first so that all are aligned."""
        tensors = [(name, rows) for name, rows in self._tensors.items() if rows.itemsize]
        tensors.sort(key=lambda pair: -pair[1].itemsize)
        header: dict[str, object] = {METADATA: dict(self.metadata)}
        start = 0
        for name, rows in tensors:
            entry = rows.header(start)
            header[name], start = entry, entry["data_offsets"][1]  # type: ignore[index]
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        file.write(len(text).to_bytes(8, "little") + text)
        for _, rows in tensors:
            rows.copy_to(file)


@contextmanager
def tensor_file(path: Path) -> Iterator[TensorFile]:
    """Yields tensors to fill and writes them to `path` atomically when the block ends without an error.

    The file is not flushed to disk, which takes longer than preparing a still image. `read_header` notices a file that
    a power failure left incomplete.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        tensors = TensorFile(path.parent, cleanup)
        yield tensors
        with atomic_file(path, flush=False) as temporary, writing_to(path.parent), temporary.open("wb") as file:
            tensors.write_to(file)


def read_header(path: Path) -> dict[str, Any] | None:
    """Reads the header of a file of tensors; returns None if it is invalid or does not match the file's size.

    Nothing else is read: truncated files and damaged headers are detected, changed bytes in the tensors are not.
    """
    with path.open("rb") as file:
        size, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            return None
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            stop = max((entry["data_offsets"][1] for name, entry in header.items() if name != METADATA), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return None
    return header if 8 + length + stop == size else None
