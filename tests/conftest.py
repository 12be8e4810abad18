import os

import cv2
import pytest
import torch

os.environ.setdefault("WANDB_MODE", "disabled")
torch.set_num_threads(1)  # two test processes share two cores
cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Data, store, runs and results of every test are its own."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("FER_STORE", raising=False)
