import pytest
import torch
from torch import Tensor, nn

from mssctl.hardware import attention as cpu_attention
from mssctl.hardware.attention import attention, attention_with_dropout
from mssctl.hardware.dropout import Dropout, keep_bits, kept_levels

DTYPES = [torch.float32, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_kept_is_scaled_and_gets_the_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(300, 7, 101, dtype=dtype, requires_grad=True)
    y = Dropout(0.1)(x)
    kept = y.detach() != 0
    assert kept.double().mean().item() == pytest.approx(0.9, abs=0.003)  # four deviations
    assert y.dtype == dtype
    torch.testing.assert_close(y[kept].double().mean().item(), 1 / 0.9, atol=0, rtol=4e-3)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_dropped_values_are_zero_whatever_they_were() -> None:
    torch.manual_seed(0)
    x = torch.full((4_000,), float("inf"), dtype=torch.bfloat16)
    assert set(Dropout(0.5)(x).tolist()) == {0.0, float("inf")}


@pytest.mark.parametrize("p", [1e-4, 0.003, 0.1, 0.5, 0.97])
def test_the_share_kept_is_the_one_asked_for(p: float) -> None:
    keep = keep_bits(torch.Size((1_000_003,)), kept_levels(p), torch.Generator().manual_seed(5))
    assert set(keep.unique().tolist()) == {-1, 0}
    share = (keep == 0).double().mean().item()
    assert share == pytest.approx(p, abs=4 * (p * (1 - p) / 1e6) ** 0.5 + 1 / 131_072)


def test_neighbours_and_strides_apart_are_dropped_independently() -> None:
    keep = keep_bits(torch.Size((1 << 20,)), kept_levels(0.5), torch.Generator().manual_seed(1))
    for apart in (1, 2, 3, 4, 8, 624, 1248, 2496, 4096):
        alike = (keep[apart:] == keep[:-apart]).double().mean().item()
        assert alike == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize("p", [0.0, 1e-9, 1e-6])
def test_nothing_is_copied_where_nothing_is_dropped(p: float) -> None:
    x = torch.randn(5)
    assert Dropout(p)(x) is x
    assert Dropout(0.9).eval()(x) is x
    q = torch.randn(2, 1, 5, 8)
    assert torch.equal(attention(q, q, q, p), attention(q, q, q))


def test_the_same_seed_drops_the_same_and_the_next_call_others() -> None:
    def drop() -> Tensor:
        return Dropout(0.5)(torch.ones(1_000))

    torch.manual_seed(3)
    first, second = drop(), drop()
    torch.manual_seed(3)
    assert torch.equal(first, drop())
    assert not torch.equal(first, second)


def test_strided_and_expanded_tensors() -> None:
    x = torch.randn(6, 40, 10, dtype=torch.bfloat16).transpose(1, 2)[..., 3:-3]
    torch.manual_seed(0)
    y = Dropout(0.5)(x)
    torch.manual_seed(0)
    assert torch.equal(y, Dropout(0.5)(x.contiguous()))
    x = torch.zeros(6, 5, requires_grad=True)
    Dropout(0.5)(x).sum().backward()  # the gradient of a sum has strides of 0


def _reference(q: Tensor, k: Tensor, v: Tensor, keep: Tensor, share: float) -> Tensor:
    """By the book, in float64, with the weights to keep given."""
    q, k, v = q.double(), k.double(), v.double()
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
    return (weights * keep / share) @ v


def test_attention_over_nothing() -> None:
    for shape in ((0, 2, 5, 4), (2, 2, 0, 4)):
        assert attention(*torch.zeros(3, *shape).unbind(), 0.5).shape == shape


@pytest.mark.parametrize("piece", [1, 40, 150, 1_000, 1 << 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_with_dropout_is_that_of_the_book(
    piece: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_attention, "PIECE", piece)
    torch.manual_seed(0)
    length = head = 13
    q, k, v, grad = torch.randn(4, 3, 2, length, head, dtype=dtype).unbind()
    # With the identity as values, what comes back are the weights themselves.
    ones = torch.eye(length, dtype=torch.float32).expand(3, 2, length, length)
    torch.manual_seed(7)
    keep = attention_with_dropout(q.float(), k.float(), ones, 0.3) != 0
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    torch.manual_seed(7)
    y = attention_with_dropout(*inputs, 0.3)
    y.backward(grad)
    expected = [x.double().requires_grad_() for x in (q, k, v)]
    reference = _reference(*expected, keep, kept_levels(0.3) / 65_536)
    reference.backward(grad.double())
    close = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.02, "rtol": 0.01}
    torch.testing.assert_close(y.double(), reference, **close)
    for mine, theirs in zip(inputs, expected, strict=True):
        assert mine.grad is not None
        assert mine.grad.dtype == dtype
        torch.testing.assert_close(mine.grad.double(), theirs.grad, **close)


def test_attention_drops_weights_at_the_rate_asked_for() -> None:
    torch.manual_seed(0)
    q = torch.zeros(4, 3, 200, 200)
    values = torch.eye(200).expand(4, 3, 200, 200)
    y = attention(q, q, values, 0.25)
    assert (y == 0).double().mean().item() == pytest.approx(0.25, abs=0.003)
    assert y.mean().item() == pytest.approx(1 / 200, rel=0.005)


def test_attention_with_dropout_repeats_under_checkpointing() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(8, 24)
    x = torch.randn(2, 30, 8)

    def attend(x: Tensor) -> Tensor:
        q, k, v = linear(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return Dropout(0.2)(attention(q, k, v, 0.2))

    grads = []
    for checkpointed in (False, True):
        torch.manual_seed(1)
        linear.zero_grad()
        if checkpointed:
            y = torch.utils.checkpoint.checkpoint(attend, x, use_reentrant=False)
        else:
            y = attend(x)
        y.square().sum().backward()
        assert linear.weight.grad is not None
        grads.append(linear.weight.grad.clone())
    assert torch.equal(*grads)


def test_autocast_does_not_reach_the_scores() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 40, 16).unbind()
    torch.manual_seed(1)
    plain = attention_with_dropout(q, k, v, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        assert torch.equal(attention_with_dropout(q, k, v, 0.1), plain)
