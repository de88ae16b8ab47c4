"""Learning rates over a run, the optimizer's settings, and the moving average."""

from __future__ import annotations

import pytest
import torch

from mssctl.config.schema import OptimizerConfig, SchedulerConfig
from mssctl.training.optim import LearningRate, MovingAverage, build_optimizer


def test_warm_up_is_a_straight_line_to_the_full_rate():
    rate = LearningRate(1.0, 100, SchedulerConfig(warmup_steps=4))
    assert [rate.at(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_plateau_waits_for_its_patience_then_multiplies_down_to_the_minimum():
    config = SchedulerConfig(patience=1, factor=0.1, min_lr=0.05)
    rate = LearningRate(1.0, 100, config)
    rates = []
    for step, score in enumerate([1.0, 2.0, 2.0, 1.9, 1.8, 1.8, 3.0]):
        rate.validated(step, score)
        rates.append(rate.at(step))
    assert rates == [1.0, 1.0, 1.0, 0.1, 0.1, 0.05, 0.05]


def test_plateau_does_not_count_during_warm_up():
    rate = LearningRate(1.0, 100, SchedulerConfig(warmup_steps=10, patience=0))
    for step in (0, 5, 9):
        rate.validated(step, -1.0 - step)
    assert rate.at(10) == 1.0


def test_cosine_falls_to_the_minimum_at_the_last_step():
    rate = LearningRate(1.0, 110, SchedulerConfig(name="cosine", warmup_steps=10, min_lr=0.1))
    rates = [rate.at(step) for step in range(10, 111)]
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)


def test_a_schedule_goes_on_from_its_state():
    config = SchedulerConfig(patience=2)
    first = LearningRate(1.0, 100, config)
    for step in range(3):
        first.validated(step, -float(step))
    second = LearningRate(1.0, 100, config)
    second.load_state_dict(first.state_dict())
    for rate in (first, second):
        rate.validated(3, -5.0)
    assert first.at(4) == second.at(4) == 0.5


def test_the_optimizer_has_the_settings_of_the_configuration(make_config, make_state):
    config = make_config(
        optimizer={"lr": 0.01, "betas": (0.5, 0.6), "eps": 1e-3, "weight_decay": 0.2}
    )
    optimizer = build_optimizer(make_state(config).model, config.optimizer)
    kernels, biases = optimizer.param_groups
    for group in (kernels, biases):
        assert (group["lr"], group["betas"], group["eps"]) == (0.01, (0.5, 0.6), 1e-3)
        assert group["fused"] is True
    assert (kernels["weight_decay"], biases["weight_decay"]) == (0.2, 0.0)
    assert [p.ndim for p in kernels["params"]] == [3]
    assert [p.ndim for p in biases["params"]] == [1]
    plain = build_optimizer(make_state(config).model, OptimizerConfig(fused=False))
    assert plain.param_groups[0]["fused"] is False


def test_the_average_follows_the_weights_slower_than_they_move(make_config, make_state):
    model = make_state(make_config()).model
    average = MovingAverage(model, momentum=0.5)
    start = model.conv.bias.detach().clone()
    with torch.no_grad():
        model.conv.bias += 1.0
    average.update(model, step=1000)
    torch.testing.assert_close(average.model.conv.bias, start + 0.5)
    assert not average.model.training
    assert not average.model.conv.bias.requires_grad


def test_early_in_a_run_the_average_forgets_the_random_start(make_config, make_state):
    model = make_state(make_config()).model
    average = MovingAverage(model, momentum=0.9999)
    with torch.no_grad():
        model.conv.bias.zero_()
    for step in range(1, 101):
        average.update(model, step)
    assert average.model.conv.bias.abs().max() < 1e-3
