import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import data_modules.store.tensor_file as module
from data_modules.store.tensor_file import tensor_file


@pytest.mark.parametrize("in_memory", [8, 1 << 20])
def test_rows_that_arrive_one_by_one_are_read_by_the_library(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(module, "IN_MEMORY", in_memory)
    rng = np.random.default_rng(0)
    expected = {
        "byte": rng.integers(0, 256, 13).astype(np.uint8),
        "wide": rng.normal(size=(5, 2, 3)),
        "short": rng.integers(-9, 9, 7).astype(np.int16),
        "float": rng.normal(size=(6, 4)).astype(np.float32),
        "long": np.arange(3),
    }
    with tensor_file(tmp_path / "a.safetensors") as tensors:
        for name, array in expected.items():
            for row in array:
                tensors[name].extend(row[None])
        assert tensors["never filled"].count == 0
        tensors.metadata = {"what": "happiness"}
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    data = (tmp_path / "a.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    assert json.loads(data[8 : 8 + length])["__metadata__"] == {"what": "happiness"}
    assert length % 8 == 0


def test_an_error_leaves_no_file(tmp_path):
    def write(path: Path) -> None:
        with tensor_file(path) as tensors:
            tensors["x"].extend(np.zeros(3))
            raise KeyError

    with pytest.raises(KeyError):
        write(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_shape_or_kind_are_refused(tmp_path):
    with tensor_file(tmp_path / "a.safetensors") as tensors:
        tensors["x"].extend(np.zeros((2, 3)))
        for rows in (np.zeros((2, 4)), np.zeros((2, 3), np.float32)):
            with pytest.raises(ValueError, match="expected the same"):
                tensors["x"].extend(rows)
