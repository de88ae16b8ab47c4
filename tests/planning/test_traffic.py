"""What a step moves and launches, counted by hand."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from mssctl.planning.predict.fake_step import predict_peak
from mssctl.planning.predict.traffic import CONVOLUTIONS, REST, UPDATE, Traffic, count_traffic

N = 1 << 20


def count(step, build=lambda: None, names=None):
    return count_traffic(build, step, names or {})


def vector() -> torch.Tensor:
    return torch.empty(N, device="cuda")


def test_each_tensor_is_read_or_written_once():
    def step(_):
        torch.add(vector(), vector())  # reads two, writes one
        vector().mul_(2)  # reads and writes one
        vector().copy_(vector())  # writes the first without reading it
        vector().zero_()

    assert count(step) == {REST: Traffic(moved=4 * N * (3 + 2 + 2 + 1), kernels=4, operations=10)}


def test_views_and_new_memory_are_no_traffic():
    def step(_):
        vector().view(2, -1).transpose(0, 1).detach().unsqueeze(0)

    [traffic] = count(step).values()
    assert (traffic.moved, traffic.kernels, traffic.operations) == (0, 0, 5)


def test_a_repeated_value_is_read_once():
    def step(_):
        torch.empty(1, 8, device="cuda").expand(N, 8) + 1.0

    [traffic] = count(step).values()
    assert traffic.moved == 4 * (8 + 8 * N)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, bias=False)
        self.gate = nn.SiLU()
        self.out = nn.Linear(8, 8)

    def forward(self, x):
        return self.out(self.gate(self.conv(x)).transpose(1, 2))


NAMES = {"gate": "gates", "out": "maps"}


def trained(net, again=False):
    x = torch.empty(2, 4, 66, device="cuda")
    y = checkpoint(net, x, use_reentrant=False) if again else net(x)
    loss = F.mse_loss(y, torch.zeros_like(y))
    loss.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.sub_(parameter.grad)
            parameter.grad = None


def test_what_runs_backward_belongs_to_what_ran_forward():
    found = count(trained, Net, NAMES)
    assert set(found) == {CONVOLUTIONS, "gates", "maps", REST, UPDATE}
    values = 2 * 8 * 64
    gates = found["gates"]
    assert gates.moved == 4 * values * (2 + 3)  # of its input and its output's gradient
    assert (gates.kernels, gates.flops) == (2, 0)
    # The convolution, and the gradient of its weights; its input has none.
    assert found[CONVOLUTIONS].kernels == 2
    assert found[CONVOLUTIONS].flops == 2 * 2 * values * 3 * 4
    assert found[UPDATE].kernels == 3
    assert found[CONVOLUTIONS].kept == 4 * values  # its output, which the gate needs again


def test_what_is_computed_again_counts_again():
    once = count(trained, Net, NAMES)
    twice = count(lambda net: trained(net, again=True), Net, NAMES)
    assert twice["gates"].moved == 4 * 2 * 8 * 64 * (2 + 3 + 2)
    assert twice[CONVOLUTIONS].flops > once[CONVOLUTIONS].flops
    assert once[CONVOLUTIONS].kept == 4 * 2 * 8 * 64
    assert twice[CONVOLUTIONS].kept == 0


def test_counting_and_predicting_see_the_same_step():
    peak = predict_peak(Net, trained, steps=1)
    found = count(trained, Net, NAMES).values()
    assert sum(part.flops for part in found) == peak.flops
    assert sum(part.operations for part in found) == peak.operations
    products = sum(moved * times for _, moved, times in peak.work)
    assert sum(part.moved for part in found) == peak.moved + products


def test_the_roofline_counts_no_views_and_no_new_memory():
    def step(_):
        x = torch.empty(N, device="cuda")
        torch.ops.aten._unsafe_view(torch.empty_like(x), [N // 2, 2]).transpose_(0, 1)

    assert predict_peak(lambda: None, step, steps=1).moved == 0
