"""Files of named tensors that are written while their rows arrive: a clip's memory does not grow with its length.

The form is that of safetensors (a header of JSON, then the tensors one after another), which reads lazily and never
unpickles; its own writer wants all tensors in memory at once.
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

IN_MEMORY = 4 * 2**20  # bytes of a tensor before it goes to disk: most clips never do
METADATA = "__metadata__"  # the header's entry that is no tensor
DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "int16": "I16", "uint8": "U8"}


class Rows:
    """A tensor that grows by rows: (n, ...) of one shape and kind."""

    def __init__(self, spool: IO[bytes], folder: Path) -> None:
        self._spool, self._folder = spool, folder  # where it goes when it is large
        self._first: NDArray[Any] | None = None  # of no rows; says shape and kind
        self.count = 0

    def extend(self, rows: NDArray[Any]) -> None:
        """Appends rows (m, ...).

        Raises:
            NotWritableError: the folder takes no more files.
            ValueError: they have another shape or kind than those before.
        """
        if self._first is None:
            self._first = rows[:0]
        if rows.shape[1:] != self._first.shape[1:] or rows.dtype != self._first.dtype:
            raise ValueError(
                f"rows of shape {rows.shape[1:]} ({rows.dtype}) after rows of {self._first.shape[1:]} "
                f"({self._first.dtype}); expected the same"
            )
        with writing_to(self._folder):
            self._spool.write(np.ascontiguousarray(rows).tobytes())
        self.count += len(rows)

    @property
    def itemsize(self) -> int:
        """Bytes of a number; 0 where no rows came."""
        return 0 if self._first is None else self._first.itemsize

    def header(self, start: int) -> dict[str, object]:
        """The tensor's entry in the header; its bytes begin at `start`."""
        assert self._first is not None
        shape = (self.count, *self._first.shape[1:])
        stop = start + int(np.prod(shape)) * self.itemsize
        return {"dtype": DTYPES[str(self._first.dtype)], "shape": shape, "data_offsets": [start, stop]}

    def copy_to(self, file: IO[bytes]) -> None:
        """Writes all rows to a file."""
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, file)


class TensorFile:
    """Tensors being written; those that never got rows are left out."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self._folder, self._cleanup = folder, cleanup
        self._tensors: dict[str, Rows] = {}
        self.metadata: Mapping[str, str] = {}

    def __getitem__(self, name: str) -> Rows:
        """The tensor of that name, made when it is first asked for."""
        if name not in self._tensors:
            spool = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._folder))  # noqa: SIM115
            self._tensors[name] = Rows(self._cleanup.enter_context(spool), self._folder)
        return self._tensors[name]

    def discard(self, name: str) -> None:
        """Takes a tensor's rows back; they are not written."""
        self._tensors.pop(name, None)

    def write_to(self, file: IO[bytes]) -> None:
        """Header, then the tensors; wide numbers first, so that each lies where the processor wants it."""
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
    """Yields tensors to fill; when the block ends they are written to `path`, whole; after an error nothing is.

    Raises:
        NotWritableError: the folder takes no more files.
    """
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        tensors = TensorFile(path.parent, cleanup)
        yield tensors
        with atomic_file(path) as temporary, writing_to(path.parent), temporary.open("wb") as file:
            tensors.write_to(file)


def read_header(path: Path) -> dict[str, Any] | None:
    """The header of a file of tensors; None where it is none, or the file has another size than it says.

    Reads nothing else: a file cut short and a damaged header are found, a changed byte in the tensors is not.
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
