"""Runs come after those that they need, and not at all if these fail."""

import pytest

from fer_lightning.ensemble.order import Step, steps, train_in_order
from fer_lightning.experiments.request import ExperimentRequest

WEIGHTS = "--model.init_args.backbone.init_args.weights"


def names(requests):
    return sorted(request.run.path.parent.name for request in requests)


def trained_in(plan, broken=()):
    """The runs that are trained together, and those that did not finish."""
    together = []

    def train(requests):
        together.append(names(requests))
        return [request for request in requests if request.run.path.parent.name in broken]

    return together, names(train_in_order(plan, train))


def test_members_and_weights_come_first():
    plan = steps([ExperimentRequest("bimodal_fusion_synthetic", size="small")])
    together, failed = trained_in(plan)
    assert not failed
    assert together[-1] == ["bimodal_fusion_synthetic"]
    assert {"stills_synthetic_stills", "vgg16_synthetic_stills"} <= set(together[0])
    assert "bimodal_densenet121_frames_synthetic" in together[1]
    assert "bimodal_densenet121_synthetic" in together[2]
    assert sum(map(len, together)) == len(plan) == len({name for group in together for name in group})


def test_what_needs_a_failed_run_is_not_trained_and_the_rest_is(capsys):
    plan = steps([ExperimentRequest("cnn_lstm_synthetic"), ExperimentRequest("ceflnet_synthetic")])
    together, failed = trained_in(plan, broken=["vgg16_synthetic_stills"])
    assert together == [["stills_synthetic_stills", "vgg16_synthetic_stills"], ["ceflnet_synthetic"]]
    assert failed == ["cnn_lstm_synthetic", "vgg16_synthetic_stills"]
    needs = f"it needs {ExperimentRequest('vgg16_synthetic_stills').run.path}"
    assert f"{ExperimentRequest('cnn_lstm_synthetic').run.path} is not trained: {needs}" in capsys.readouterr().out


def test_a_variant_is_trained_with_its_own_arguments_and_seed():
    arguments = (WEIGHTS, "run:stills_synthetic_stills.wide")
    request = ExperimentRequest("ceflnet_synthetic", seed=2, arguments=arguments)
    with pytest.raises(FileNotFoundError, match=r"its arguments are not known here"):
        steps([request])
    variant = ExperimentRequest("stills_synthetic_stills", seed=2, name="wide", arguments=("--data.size", "48"))
    plan = steps([request], [variant])
    assert plan[variant.run.path].request.arguments == ("--data.size", "48")
    assert trained_in(plan)[0] == [["stills_synthetic_stills.wide"], ["ceflnet_synthetic"]]


def test_finished_runs_are_neither_trained_nor_waited_for():
    (needed,) = [each for each in steps([ExperimentRequest("ceflnet_synthetic")]).values() if not each.needs]
    needed.request.run.report.parent.mkdir(parents=True)
    needed.request.run.report.touch()
    assert trained_in(steps([ExperimentRequest("ceflnet_synthetic")]))[0] == [["ceflnet_synthetic"]]


def test_runs_that_need_each_other_are_named():
    first, second = ExperimentRequest("ceflnet_synthetic"), ExperimentRequest("av_synthetic")
    circle = {
        first.run.path: Step(first, frozenset([second.run.path])),
        second.run.path: Step(second, frozenset([first.run.path])),
    }
    with pytest.raises(ValueError, match=r"these runs need each other: .*ceflnet_synthetic.*av_synthetic"):
        train_in_order(circle, lambda requests: pytest.fail("trained"))
