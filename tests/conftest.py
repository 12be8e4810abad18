import os
from contextlib import suppress

import cv2
import pytest
import torch

os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # else Lightning sets more with DDP, after which forks hang
torch.set_num_threads(1)  # two test processes share two cores
cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Data, store, runs and results of every test are its own."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("FER_STORE", raising=False)


@pytest.fixture
def offline_wandb(tmp_path, monkeypatch):
    """W&B writes files and sends nothing; all that it keeps lies in the test's folder."""
    import wandb  # most tests do without it
    from wandb.sdk.lib.module import unset_globals

    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb" / name))
    wandb.teardown()  # the process of an earlier training would be used again, and so would a run that it left
    unset_globals()
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    yield
    with suppress(Exception):  # some tests kill its process
        wandb.finish()
    unset_globals()
