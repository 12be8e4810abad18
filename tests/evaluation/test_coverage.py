"""What intervals and tests promise, on simulated data sets in which the clips of a person are alike."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from fer_lightning.evaluation.bootstrap import Interval, bootstrap
from fer_lightning.evaluation.comparison import difference_over_seeds, paired_difference
from fer_lightning.evaluation.metrics import UAR, WAR
from fer_lightning.evaluation.predictions import PredictionTable

pytestmark = pytest.mark.slow

SETS, DRAWS = 2000, 500
NAMES = ("anger", "fear")
ACCURACY = 0.7


def clips_of(generator: np.random.Generator, people: int) -> NDArray[np.int64]:
    """The person of each clip: 4 to 16 clips each."""
    return np.repeat(np.arange(people), generator.integers(4, 17, people))


def table_of(person: NDArray[np.int64], right: NDArray[np.bool_], seed: int = 0) -> PredictionTable:
    """Predictions of clips whose classes alternate."""
    count = len(person)
    label = np.arange(count) % 2
    chosen = np.where(right, label, 1 - label)
    empty = np.full(count, "")
    return PredictionTable(
        class_names=NAMES,
        clip_id=np.char.add("c", np.arange(count).astype(str)),
        subject=np.char.add("s", person.astype(str)),
        group=empty,
        split=np.full(count, "test"),
        fold=np.full(count, "1"),
        seed=np.full(count, seed),
        emotion=np.array(NAMES)[label],
        probabilities=np.where(chosen[:, None] == np.arange(2), 0.9, 0.1),
        coverage=np.ones(count),
        reason=empty,
    )


def trainings(
    generator: np.random.Generator, person: NDArray[np.int64], seeds: int, of_seeds: float, ability: NDArray[np.float64]
) -> PredictionTable:
    """Predictions of several trainings: a training is better or worse for all people, and for each of them."""
    tables = []
    for seed in range(seeds):
        own = generator.uniform(-0.1, 0.1, len(ability))
        chance = ACCURACY + ability + generator.normal(0, of_seeds) + own
        tables.append(table_of(person, generator.random(len(person)) < chance[person], seed))
    return PredictionTable.concat(tables)


def share_covered(simulated: Callable[[np.random.Generator], list[Interval]], truth: float) -> NDArray[np.float64]:
    """The share of simulated data sets in which each interval holds the truth."""
    generator = np.random.default_rng(0)
    held = [[each.low <= truth <= each.high for each in simulated(generator)] for _ in range(SETS)]
    return np.asarray(np.mean(held, axis=0))


@pytest.mark.parametrize("people", [8, 20, 40])
def test_intervals_over_people_hold_the_truth(people):
    def simulated(generator: np.random.Generator) -> list[Interval]:
        person, ability = clips_of(generator, people), generator.uniform(-0.2, 0.2, people)
        found = bootstrap(trainings(generator, person, 1, 0.0, ability), DRAWS)
        return [found[WAR], found[UAR]]

    covered = share_covered(simulated, ACCURACY)
    assert ((covered >= 0.93) & (covered <= 0.97)).all(), covered


@pytest.mark.parametrize("of_seeds", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_over_people_and_seeds_hold_the_truth(seeds, of_seeds):
    """Whether seeds do not matter, as much as people, or more."""

    def simulated(generator: np.random.Generator) -> list[Interval]:
        person, ability = clips_of(generator, 30), generator.uniform(-0.1, 0.1, 30)
        return [bootstrap(trainings(generator, person, seeds, of_seeds, ability), DRAWS)[WAR]]

    covered = share_covered(simulated, ACCURACY)
    assert 0.93 <= covered.item() <= 0.97, covered


@pytest.mark.parametrize(("seeds", "of_seeds"), [(1, 0.0), (3, 0.0), (3, 0.05), (5, 0.05)])
def test_intervals_and_tests_of_differences_hold_what_they_promise(seeds, of_seeds):
    """Two systems that are equally good, but not for each person."""
    generator = np.random.default_rng(1)
    held, rejected = [], []
    for _ in range(SETS):
        person = clips_of(generator, 30)
        abilities = generator.uniform(-0.1, 0.1, (2, 30))
        first, second = (trainings(generator, person, seeds, of_seeds, ability) for ability in abilities)
        found = difference_over_seeds(first, second, WAR, DRAWS)
        held.append(found.interval.low <= 0 <= found.interval.high)
        rejected.append(found.p_value <= 0.05)
    assert 0.93 <= np.mean(held) <= 0.97, np.mean(held)
    assert 0.03 <= np.mean(rejected) <= 0.07, np.mean(rejected)


def test_the_paired_test_keeps_its_level_where_mcnemars_does_not():
    generator = np.random.default_rng(2)
    rejected, independent = [], []
    for _ in range(SETS):
        person = clips_of(generator, 20)
        first, second = (trainings(generator, person, 1, 0.0, each) for each in generator.uniform(-0.2, 0.2, (2, 20)))
        found = paired_difference(first, second, draws=1)
        rejected.append(found.p_value <= 0.05)
        discordant = found.only_first + found.only_second
        independent.append(binomtest(found.only_first, discordant, 0.5).pvalue <= 0.05)
    assert 0.03 <= np.mean(rejected) <= 0.06, np.mean(rejected)
    assert np.mean(independent) > 0.1, "with clips of one person taken for independent, it rejects too often"
