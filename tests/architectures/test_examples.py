"""The example in the docstring of every classifier runs and shows what it prints."""

import doctest

import pytest

from data_modules.audio.settings import AudioSettings
from fer_lightning import random_batch
from tests.models import classifiers

CLASSIFIERS = list(classifiers().values())


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda each: each.__name__)
def test_the_example_of_every_classifier_runs(classifier):
    """With nothing imported but what the example imports."""
    example = doctest.DocTestParser().get_doctest(classifier.__doc__, {}, classifier.__name__, None, None)
    assert len(example.examples) == 3
    assert f"{classifier.__name__}(" in example.examples[1].source
    found: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=found.append)
    assert not found, "".join(found)


def test_every_paper_has_its_classifiers_here():
    assert len(CLASSIFIERS) >= 17


def test_a_random_batch_has_what_is_asked_for():
    batch_inputs = {"face", "landmarks", "descriptor"}
    batch = random_batch(batch_inputs, clips=3, frames=5, size=8)
    assert batch.face.shape == (3, 5, 3, 8, 8)
    assert batch.landmarks.shape == (3, 5, 68, 3)
    assert batch.descriptor.shape == (3, 384)
    assert batch.person is batch.spectrogram is None
    assert len(batch) == 3
    assert batch.mask.all()
    assert batch.landmarks.equal(random_batch(batch_inputs, clips=3, frames=5, size=8).landmarks)
    audio = AudioSettings(size=24, functionals="is10", bands=40)
    other = random_batch({"descriptor", "spectrogram", "log_mel"}, clips=3, frames=5, size=8, audio=audio)
    assert [other.descriptor.shape, other.spectrogram.shape] == [(3, 1582), (3, 3, 24, 24)]
    assert other.log_mel.shape == (3, 10, 40)
    with pytest.raises(ValueError, match=r"no noise can be made for features; expected some of face, person"):
        random_batch({"face", "features"})
