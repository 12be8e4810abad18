"""What other epochs would have given is known of epochs that were evaluated alike, and only if all were watched."""

import numpy as np
import pytest

from data_modules.labels import SEVEN
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.evaluation.other_epochs import conclude_watching, other_epochs_line, read_other_epochs, watched_file
from fer_lightning.runs.folder import RunFolder, RunInfo
from tests.ensemble.test_ensemble import made_table

CHOSEN = 1


@pytest.fixture
def run(tmp_path):
    """A run of three epochs, of which the second is chosen; what is reported of it has more views than was watched."""
    run = RunFolder(tmp_path / "run")
    made_table("test", 3.0, 0).write(run.predictions("test"))
    run.write_info(RunInfo("x", "CEFLNet", "made", SEVEN, "1", 0, "inner", CHOSEN, "store", 10))
    run.watched_epochs.mkdir()
    for epoch, strength in enumerate((0.2, 0.8, 1.5)):
        np.save(watched_file(run, epoch), made_table("test", strength, 1 + epoch).probabilities)
    return run


def test_the_chosen_epoch_is_compared_as_the_others_were_evaluated(run):
    accuracy = [(made_table("test", s, 1 + e).correct).mean() for e, s in enumerate((0.2, 0.8, 1.5))]
    conclude_watching(run, last=2)
    others = read_other_epochs(run)
    assert (others.chosen.number, others.last.number, others.best.number) == (CHOSEN, 2, 2)
    assert others.chosen.table.correct.mean() == pytest.approx(accuracy[CHOSEN])
    assert others.inflation[WAR].value == pytest.approx(accuracy[2] - accuracy[CHOSEN])
    assert others.inflation[WAR].value > 0 > accuracy[2] - made_table("test", 3.0, 0).correct.mean(), "as it was before"


@pytest.mark.parametrize(("missing", "last"), [([0], 2), ([1], 2), ([], 3)])
def test_of_a_training_that_was_watched_in_part_nothing_is_kept(run, missing, last, capsys):
    for epoch in missing:
        watched_file(run, epoch).unlink()
    conclude_watching(run, last)
    assert f"{3 - len(missing)} of {last + 1} epochs were watched" in capsys.readouterr().out
    assert read_other_epochs(run) is None
    assert other_epochs_line(run) == ""
    assert not run.watched_epochs.exists()
