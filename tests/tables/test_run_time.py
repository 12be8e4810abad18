"""The time of a run on paper, against cases that are worked out by hand."""

from dataclasses import replace

import pytest

from fer_lightning.tables.run_time import Machine, Training, efficiency, exchange_seconds, fitted, run_of, step_of

# 3 x 2e9 multiply-adds a clip at 1e12 a second: 6 ms; 1e6 gradients of 4 bytes
WORK = Training(2e9, 1_500_000, 1_000_000, frames=10, batch=8, clips=100, evaluated=40, epochs=3)
FAST = Machine(speed=1e12, frames=1e6, link=1e9, network=1e8, disk=1e6)


def test_one_device_only_computes():
    step = step_of(WORK, FAST, 1)
    assert (step.computing, step.exchange, step.bound) == (pytest.approx(0.048), 0.0, "computing")
    assert step.seconds == pytest.approx(0.048)


@pytest.mark.parametrize(("processes", "nodes", "seconds"), [(2, 1, 0.004), (4, 1, 0.006), (8, 1, 0.007), (8, 2, 0.07)])
def test_a_ring_sends_the_gradients_nearly_twice_through_its_slowest_link(processes, nodes, seconds):
    assert exchange_seconds(WORK, FAST, processes, nodes) == pytest.approx(seconds)
    step = step_of(WORK, FAST, processes, nodes)
    assert step.seconds == pytest.approx(0.048 / processes + seconds)
    assert step.bound == ("exchange" if seconds > 0.048 / processes else "computing")


def test_what_is_sent_during_the_backward_pass_is_not_waited_for():
    # 8 devices compute 6 ms, of which half of the backward pass is 2 ms
    assert step_of(WORK, replace(FAST, overlap=0.5), 8).exchange == pytest.approx(0.007 - 0.002)
    assert step_of(WORK, replace(FAST, overlap=1.0), 2).exchange == 0.0


def test_a_slow_loader_is_the_time_of_the_step_and_divides_with_the_devices():
    slow = replace(FAST, frames=500.0)  # 80 frames: 0.16 s on one device
    assert step_of(WORK, slow, 1).bound == "loading"
    assert step_of(WORK, slow, 1).seconds == pytest.approx(0.16)
    assert step_of(WORK, slow, 4).seconds == pytest.approx(0.04)


def test_processes_that_share_a_device_take_turns():
    shared = replace(FAST, devices=1, overhead=0.01)
    assert step_of(WORK, shared, 1).computing == pytest.approx(0.01 + 0.048)
    assert step_of(WORK, shared, 2).computing == pytest.approx(2 * 0.01 + 0.048)
    assert step_of(WORK, replace(shared, devices=2), 4, nodes=2).computing == pytest.approx(0.01 + 0.012)


def test_efficiency_is_by_one_device():
    assert efficiency(WORK, FAST, 1) == 1
    assert efficiency(WORK, FAST, 4) == pytest.approx(0.048 / (4 * (0.012 + 0.006)))


def test_a_run_has_steps_evaluations_and_checkpoints():
    run = run_of(WORK, FAST, 2)
    assert run.steps == pytest.approx(3 * 13 * (0.024 + 0.004))  # 100 clips in batches of 8
    assert run.evaluation == pytest.approx(3 * 20 * 0.002)
    assert run.checkpoints == pytest.approx(3 * 4 * (1.5 + 2 * 1.0))  # 14 MB at 1 MB a second
    assert run.seconds == pytest.approx(run.steps + run.evaluation + run.checkpoints)


def test_a_line_is_fitted_to_the_steps_of_one_process():
    assert fitted([(4, 0.5), (8, 0.9)]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert fitted([(2, 1.0), (4, 2.2)])[0] == 0.0, "a step never begins before it begins"
    with pytest.raises(ValueError, match="two or more different ones"):
        fitted([(4, 0.5), (4, 0.6)])
    with pytest.raises(ValueError, match="expected larger batches to take longer"):
        fitted([(4, 0.5), (8, 0.4)])


@pytest.mark.parametrize("wrong", [{"speed": 0.0}, {"overhead": -1.0}, {"overlap": 1.5}, {"devices": 0}])
def test_impossible_machines_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        replace(FAST, **wrong)


def test_processes_are_spread_evenly():
    with pytest.raises(ValueError, match="3 processes on 2 machines"):
        step_of(WORK, FAST, 3, nodes=2)
