"""The number of loading processes that nobody has stated: torch warns of more than this process has processors."""

import os
import warnings

import pytest

from tests.small_runs import made_data


@pytest.mark.parametrize(("processors", "expected"), [({3}, 1), ({0, 3}, 2), (set(range(8)), 2)])
def test_the_default_is_no_more_than_the_processors_of_this_process(monkeypatch, processors, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: processors, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made_data(num_workers=None).train_dataloader().num_workers == expected


def test_torch_would_warn_of_more(monkeypatch):
    """Otherwise the test above shows nothing."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    with pytest.warns(UserWarning, match="suggested max number of worker"):
        made_data(num_workers=2).train_dataloader()
