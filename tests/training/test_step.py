"""One optimizer step: accumulation, clipping, skipping, and every setting in force."""

from __future__ import annotations

import pytest
import torch

from mssctl.training.optim import tensors_of
from mssctl.training.step import train_step


def weights_of(state):
    return {name: tensor.clone() for name, tensor in tensors_of(state.model).items()}


def test_accumulated_micro_batches_are_one_large_batch(make_config, make_state, make_batch):
    # Without dropout and with targets that are all active, every term is a mean over examples.
    parts = [make_batch(0), make_batch(1)]
    split = make_config(training={"gradient_accumulation_steps": 2})
    whole = make_config(training={"batch_size": 4})
    one, other = make_state(split, dropout=0.0), make_state(whole, dropout=0.0)
    a = train_step(one, parts, split)
    b = train_step(other, [torch.cat(parts)], whole)
    torch.testing.assert_close(a.loss, b.loss)
    torch.testing.assert_close(a.grad_norm, b.grad_norm)
    torch.testing.assert_close(weights_of(one), weights_of(other), rtol=1e-4, atol=1e-6)


def test_too_few_micro_batches_are_a_wrong_call(make_config, make_state, make_batch):
    config = make_config(training={"gradient_accumulation_steps": 2})
    with pytest.raises(ValueError, match="expected 2 micro-batches, got 1"):
        train_step(make_state(config), [make_batch(0)], config)


def test_a_step_learns(make_config, make_state, make_batch):
    config = make_config(optimizer={"lr": 0.01})
    state = make_state(config, dropout=0.0)
    losses = [train_step(state, [make_batch(0)], config).loss.item() for _ in range(20)]
    assert losses[-1] < losses[0] - 1
    assert state.step == 20


def test_gradients_are_clipped_to_the_norm_given(make_config, make_state, make_batch):
    config = make_config(training={"gradient_clip": 1e-3})
    state = make_state(config)
    outcome = train_step(state, [make_batch(0)], config)
    clipped = torch.stack([p.grad.norm() for p in state.model.parameters()]).norm()
    assert outcome.grad_norm > 1e-2
    assert clipped.item() == pytest.approx(1e-3, rel=1e-3)


def test_the_rate_of_the_schedule_is_the_optimizers(make_config, make_state, make_batch):
    config = make_config(optimizer={"lr": 0.1}, scheduler={"warmup_steps": 10})
    state = make_state(config)
    rates = [train_step(state, [make_batch(0)], config).lr for _ in range(3)]
    assert rates == pytest.approx([0.01, 0.02, 0.03])
    assert state.optimizer.param_groups[0]["lr"] == rates[-1]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing(make_config, make_state, make_batch, fused, bad):
    config = make_config(optimizer={"fused": fused})
    state, reference = make_state(config), make_state(config)
    for each in (state, reference):
        torch.manual_seed(1)
        train_step(each, [make_batch(0)], config)
    before = weights_of(state)
    poisoned = make_batch(1)
    poisoned[0, 0, 0, 0] = bad
    outcome = train_step(state, [poisoned], config)
    assert outcome.finite == 0
    assert torch.equal(torch.stack([*map(torch.sum, before.values())]),
                       torch.stack([*map(torch.sum, weights_of(state).values())]))  # fmt: skip
    for each in (state, reference):  # the optimizer's moments are as if it had not been
        torch.manual_seed(2)
        assert train_step(each, [make_batch(2)], config).finite == 1
    torch.testing.assert_close(weights_of(state), weights_of(reference), rtol=0, atol=0)


@pytest.mark.parametrize("amp_dtype", ["float32", "bfloat16"])
def test_the_model_computes_in_the_dtype_asked_for(make_config, make_state, make_batch, amp_dtype):
    config = make_config(training={"amp_dtype": amp_dtype})
    state, seen = make_state(config), []
    state.model.conv.register_forward_hook(lambda layer, x, y: seen.append(y.dtype))
    train_step(state, [make_batch(0)], config)
    assert seen == [getattr(torch, amp_dtype)]


def test_without_momentum_there_is_no_average(make_config, make_state, make_batch):
    config = make_config(training={"ema_momentum": 0.0})
    state = make_state(config)
    train_step(state, [make_batch(0)], config)
    assert state.average is None
    assert state.validated_model is state.model
