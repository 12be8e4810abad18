"""An ensemble is killed within its members' writing or its own, and goes on."""

import os
from pathlib import Path

import pytest

from tests.ensemble.test_ensemble_experiments import apart, folder, write  # noqa: F401 - fixtures
from tests.faults.killed import RESULTS, refuse_other_results


@pytest.mark.slow
def test_an_ensemble_that_was_killed_is_one_that_was_not(folder, apart, tmp_path):  # noqa: F811
    write(folder, "both")
    refuse_other_results(["train", "both_made"], Path(os.environ["FER_RUNS"]), tmp_path, RESULTS)
