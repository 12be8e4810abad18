"""Paired tests and their correction, against scipy, enumeration and published values."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from fer_lightning.evaluation.significance import holm, sign_test


@pytest.mark.parametrize(("first", "second"), [(9, 2), (3, 3), (1, 0), (0, 0), (40, 61)])
def test_with_a_clip_in_each_cluster_it_is_mcnemars_exact_test(first, second):
    advantage = np.array([1] * first + [0] * 7 + [-1] * second)
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert sign_test(advantage) == pytest.approx(expected)


def test_people_stay_together():
    """All 2^7 signs of seven people's advantages, one by one."""
    advantage = np.array([3, -1, 4, 2, 0, 5, -2, 1])
    sums = [np.dot(signs, advantage) for signs in product((-1, 1), repeat=8)]
    assert sign_test(advantage) == pytest.approx(np.mean(np.abs(sums) >= advantage.sum()))
    assert sign_test(np.array([40])) == 1.0, "forty clips of one person say nothing of others"


def test_holm_by_hand_and_on_published_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    adjusted = holm([0.02, float("nan"), 0.03])
    assert adjusted[::2] == pytest.approx([0.04, 0.04])
    assert np.isnan(adjusted[1])
    # Benjamini and Hochberg, 1995, section 3.2: at 0.05, procedures of the familywise error reject three.
    published = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    published += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = holm(published[::-1])[::-1]
    assert [value <= 0.05 for value in adjusted] == [True] * 3 + [False] * 12
    assert adjusted[:4] == pytest.approx([0.0015, 0.0056, 0.0247, 0.114])
