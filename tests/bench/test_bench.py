"""The benchmarks run and print their figures; their speed is not tested."""

import pytest

from fer_lightning.cli.bench import BENCHES, main

SLOW = ("render", "store", "manifest", "step")


@pytest.mark.parametrize(
    "name", ["fusion", "ecnn", "audio", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_a_benchmark_prints_its_figures(name, capsys):
    main(["bench", name, "--quick"])
    assert BENCHES[name][1] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loader", "waiting for data"),
        ("predict", "x real time"),
        ("faces", "mean IoU"),
        ("memory", "MiB"),
        ("features", "x as fast"),
    ],
)
def test_a_slow_benchmark_prints_its_figures(name, words, capsys):
    main(["bench", name, "--quick"])
    assert words in capsys.readouterr().out
