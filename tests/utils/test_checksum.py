import hashlib
import os

import pytest

from data_modules.utils import checksum
from data_modules.utils.checksum import cached_sha256, file_sha256
from data_modules.utils.files import atomic_write


def test_a_file_is_hashed_once_and_again_when_it_was_written_or_replaced(tmp_path, monkeypatch):
    path, hashed = tmp_path / "weights.onnx", []
    monkeypatch.setattr(checksum, "file_sha256", lambda path: hashed.append(path) or file_sha256(path))
    path.write_bytes(b"first")
    time = path.stat().st_mtime_ns
    for number, content in enumerate((b"first", b"other"), start=1):
        assert {cached_sha256(path) for _ in range(3)} == {hashlib.sha256(content).hexdigest()}
        assert len(hashed) == number
        atomic_write(path, b"other")
        os.utime(path, ns=(time, time))  # same size and time of modification
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cached_sha256(path)
