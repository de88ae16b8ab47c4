"""The state space scan of Mamba-2: exact, in chunks, with a backward that recomputes.

Per head with scalar ``A < 0``, for each step ``t`` with step size ``dt > 0``::

    S[t] = exp(dt[t] A) S[t-1] + dt[t] x[t] B[t]^T        y[t] = S[t] C[t] + D x[t]

Inside a chunk of ``Q`` steps this is a masked matrix product; between chunks only the state is
handed on. Decays are sums of the log-decays *between* two steps, summed as such: the ratio of two
cumulative products would overflow, and the difference of two cumulative sums would lose digits.
Source: Dao & Gu, "Transformers are SSMs" (arXiv:2405.21060).

Log-decays, sums, exponentials and states are in float32 whatever the inputs are; half precision
inputs are operands of the matrix products only. Letters in shapes: N sequences, L steps, H heads,
P features per head, K state size, c chunks of Q steps, Z = N * c.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    chunk_size: int = 64,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence over whole sequences.

    Saves only its inputs and the state at each chunk for the backward pass. Can be
    differentiated once.

    Args:
        x: input ``(N, L, H, P)``; its dtype is that of the matrix products' operands.
        dt: step sizes ``(N, L, H)``, above 0.
        A: decay rate per head ``(H,)``, below 0.
        B: input directions ``(N, L, K)``, shared by the heads.
        C: output directions ``(N, L, K)``, shared by the heads.
        D: weight of the input in the output ``(H,)``; None is 0.
        chunk_size: steps ``Q`` per chunk. Changes memory and speed, and no result.
        initial_state: ``(N, H, P, K)``; None is 0.

    Returns:
        Output ``(N, L, H, P)`` in the dtype of ``x``, and the state after the last step
        ``(N, H, P, K)``, float32 (float64 for float64 inputs).

    Raises:
        ValueError: shapes that do not go together.
    """
    _check(x, dt, A, B, C, initial_state)
    with full_precision(x.device):
        result = _Scan.apply(x, dt, A, B, C, initial_state, chunk_size, True)  # type: ignore[no-untyped-call]
        y, final = result
        if D is not None:
            y = y + D[:, None] * x
        return y.to(x.dtype), final


def ssd_output(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, chunk_size: int
) -> Tensor:
    """The output of `ssd_scan` alone, from state 0: one chunk then needs no states at all."""
    _check(x, dt, A, B, C)
    with full_precision(x.device):
        y: Tensor = _Scan.apply(x, dt, A, B, C, None, chunk_size, False)[0]  # type: ignore[no-untyped-call]
        return (y + D[:, None] * x).to(x.dtype)


def ssd_loop(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`ssd_scan` one step at a time, as the formula stands: to test and to measure against."""
    state = initial_state
    if state is None:
        state = x.new_zeros(*x.shape[:1], *x.shape[2:], B.shape[-1], dtype=_full(x))
    outputs = []
    for t in range(x.shape[1]):
        step = dt[:, t, :, None, None]  # (N, H, 1, 1)
        drive = x[:, t, :, :, None] * B[:, t, None, None]  # (N, H, P, K)
        state = torch.exp(step * A[:, None, None]) * state + step * drive
        outputs.append((state * C[:, t, None, None]).sum(-1))  # (N, H, P)
    y = torch.stack(outputs, dim=1)
    return y if D is None else y + D[:, None] * x, state


class _Scan(torch.autograd.Function):
    """The scan without ``D``; states are ``(N, K, H, P)`` inside, which suits the products."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dt: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        initial: Tensor | None,
        chunk_size: int,
        keep_state: bool,
    ) -> tuple[Tensor, Tensor | None]:
        chunks = _Chunks(x, dt, A, B, C, chunk_size)
        first = None if initial is None else initial.permute(0, 3, 1, 2).to(chunks.a.dtype)
        entering, final = chunks.states(first, keep_state)
        ctx.save_for_backward(x, dt, A, B, C, entering)
        ctx.chunk_size = chunk_size
        ctx.initial_dtype = None if initial is None else initial.dtype
        y = chunks.output(entering)
        return y, None if final is None else final.permute(0, 2, 3, 1).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_final: Tensor | None) -> tuple[Tensor | None, ...]:
        x, dt, A, B, C, entering = ctx.saved_tensors
        if grad_final is not None:
            grad_final = grad_final.permute(0, 3, 1, 2)
        with full_precision(grad_y.device):
            chunks = _Chunks(x, dt, A, B, C, ctx.chunk_size)
            own, initial = chunks.gradients(grad_y, grad_final, entering)
        own = tuple(g.to(v.dtype) for g, v in zip(own, (x, dt, A, B, C), strict=True))
        if ctx.initial_dtype is None or initial is None:
            return *own, None, None, None
        return *own, initial.permute(0, 2, 3, 1).to(ctx.initial_dtype), None, None


class _Chunks:
    """Sequences cut into chunks of equal length, and the matrix products over them.

    The end is filled up with steps of size 0, which change no state and give no output.
    Matrices over pairs of steps hold the source step first and the target step last, so that the
    cumulative sums run along the last axis.

    Attributes:
        B, C: ``(Z, Q, K)``, in the dtype of the operands.
        xd: ``dt * x``, ``(Z, Q, H, P)`` in full precision.
        a: log-decays ``dt * A``, ``(Z, H, Q)``; all further quantities follow from them.
        since: sum of ``a`` from the chunk's first step to each one, ``(Z, H, Q)``.
        until: sum of ``a`` after each step to the chunk's last one, ``(Z, H, Q)``.
    """

    def __init__(
        self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk_size: int
    ) -> None:
        self.x, self.dt, self.A, self.operands, full = x, dt, A, x.dtype, _full(x)
        self.sequences, self.length = x.shape[:2]
        self.size = min(chunk_size, self.length)
        self.count = -(-self.length // self.size)
        self.B, self.C = self.cut(B), self.cut(C)
        self.xd = self.cut(x.to(full) * dt.to(full)[..., None])
        self.a = self.cut(dt.to(full) * A.to(full)).transpose(1, 2).contiguous()
        self.since = self.a.cumsum(-1)
        self.until = F.pad(_sum_from(self.a)[..., 1:], (0, 1))

    def cut(self, values: Tensor) -> Tensor:
        """``(N, L, ...) -> (Z, Q, ...)``."""
        rest = self.count * self.size - self.length
        if rest:
            values = F.pad(values, (0, 0) * (values.dim() - 2) + (0, rest))
        return values.reshape(-1, self.size, *values.shape[2:])

    def join(self, values: Tensor) -> Tensor:
        """``(Z, Q, ...) -> (N, L, ...)``."""
        return values.reshape(self.sequences, -1, *values.shape[2:])[:, : self.length]

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """``a @ b`` per batch ``(..., n, m), (..., m, k)``, summed in full precision."""
        if a.dtype == b.dtype == self.operands == self.a.dtype:
            return a @ b
        return _product(a.to(self.operands), b.to(self.operands), self.a.dtype)

    def decays(self) -> Tensor:
        """Decay from each step to each later one ``(Z, H, Q, Q)``; 0 to earlier ones."""
        later = self.a.new_ones(self.size, self.size).triu(1)
        sums = (self.a[:, :, None] * later).cumsum(-1)
        return sums.exp_().triu_()

    def scores(self) -> Tensor:
        """Product of each step's ``B`` with each step's ``C``, ``(Z, Q, Q)``."""
        return self.product(self.B, self.C.transpose(1, 2))

    def states(self, initial: Tensor | None, keep: bool) -> tuple[Tensor | None, Tensor | None]:
        """State entering each chunk ``(N, c, K, H, P)``, and the last one ``(N, K, H, P)``.

        Either is None where it is not needed: nothing enters a single chunk that starts from 0.
        """
        single = self.count == 1 and initial is None
        if single and not keep:
            return None, None
        weighted = self.xd * _per_head(self.until.exp())
        made = self.product(self.B.transpose(1, 2), weighted.flatten(2))  # (Z, K, H·P)
        made = made.view(self.sequences, self.count, -1, *self.xd.shape[2:])
        if single:
            return None, made[:, 0]
        decay = self._whole_decay()
        state = torch.zeros_like(made[:, 0]) if initial is None else initial
        entering = torch.empty_like(made)
        for chunk in range(self.count):
            entering[:, chunk] = state
            state = torch.addcmul(made[:, chunk], state, decay[:, chunk])
        return entering, state if keep else None

    def _whole_decay(self) -> Tensor:
        """Decay over each whole chunk ``(N, c, 1, H, 1)``."""
        return self.since[..., -1].exp().view(self.sequences, self.count, 1, -1, 1)

    def output(self, entering: Tensor | None) -> Tensor:
        """``(N, L, H, P)`` in full precision, from the states entering the chunks."""
        weights = self.decays().mul_(self.scores()[:, None])  # (Z, H, Q, Q)
        y = self.product(weights.transpose(2, 3), self.xd.transpose(1, 2)).transpose(1, 2)
        if entering is not None:
            y = y + self._carried(entering) * _per_head(self.since.exp())
        return self.join(y)

    def _carried(self, entering: Tensor) -> Tensor:
        """What the entering states give to each step before decay, ``(Z, Q, H, P)``."""
        return self.product(self.C, entering.flatten(0, 1).flatten(2)).view_as(self.xd)

    def gradients(
        self, grad_y: Tensor, grad_final: Tensor | None, entering: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Of x, dt, A, B and C; and of the initial state ``(N, K, H, P)``; in full precision."""
        dy = self.cut(grad_y.to(self.a.dtype))  # (Z, Q, H, P)
        grad_xd, grad_a, grad_B, grad_C = self._gradients_inside(dy)
        leaving = None if grad_final is None else grad_final[:, None]
        grad_initial = None
        if entering is not None:
            leaving, grad_initial = self._gradients_of_states(dy, grad_final, entering)
            more_a, more_C = self._gradients_entering(dy, leaving, entering)
            grad_a, grad_C = grad_a + more_a, grad_C + more_C
        if leaving is not None:
            # Through the states that leave: B, x, and the decay to the chunk's end.
            decay = _per_head(self.until.exp())
            states = leaving.flatten(0, 1).flatten(2)  # (Z, K, H·P)
            grad_B += self.product((self.xd * decay).flatten(2), states.transpose(1, 2))
            through = self.product(self.B, states).view_as(dy) * decay  # (Z, Q, H, P)
            grad_xd += through
            by_step = (through * self.xd).sum(-1).transpose(1, 2)  # (Z, H, Q)
            grad_a += F.pad(by_step.cumsum(-1)[..., :-1], (1, 0))  # of what precedes each step

        grad_a, grad_xd = self.join(grad_a.transpose(1, 2)), self.join(grad_xd)
        dt, A = self.dt.to(grad_a.dtype), self.A.to(grad_a.dtype)
        grad_dt = grad_a * A + (grad_xd * self.x).sum(-1)
        grad_A = (grad_a * dt).sum((0, 1))
        grad_x = grad_xd * dt[..., None]
        return (grad_x, grad_dt, grad_A, self.join(grad_B), self.join(grad_C)), grad_initial

    def _gradients_inside(self, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of ``xd``, ``a``, ``B`` and ``C`` through pairs of steps within a chunk."""
        decays, scores = self.decays(), self.scores()
        by_head = dy.transpose(1, 2)  # (Z, H, Q, P)
        grad_weights = self.product(self.xd.transpose(1, 2), by_head.transpose(2, 3))
        grad_weights *= decays  # (Z, H, Q, Q)
        grad_scores = grad_weights.sum(1)  # (Z, Q, Q)
        grad_B = self.product(grad_scores, self.C)
        grad_C = self.product(grad_scores.transpose(1, 2), self.B)
        grad_weights *= scores[:, None]
        # A log-decay counts in all pairs of an earlier source and a target not before it.
        grad_a = _sum_from(grad_weights).triu_(1).sum(2)  # (Z, H, Q)
        weights = decays.mul_(scores[:, None])
        grad_xd = self.product(weights, by_head).transpose(1, 2).contiguous()
        return grad_xd, grad_a, grad_B, grad_C

    def _gradients_of_states(
        self, dy: Tensor, grad_final: Tensor | None, entering: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of the states that leave each chunk ``(N, c, K, H, P)``, and of the initial one."""
        weighted = dy * _per_head(self.since.exp())
        read = self.product(self.C.transpose(1, 2), weighted.flatten(2)).view_as(entering)
        decay = self._whole_decay()
        leaving = torch.empty_like(entering)
        grad = torch.zeros_like(entering[:, 0]) if grad_final is None else grad_final
        for chunk in reversed(range(self.count)):
            leaving[:, chunk] = grad
            grad = torch.addcmul(read[:, chunk], grad, decay[:, chunk])
        return leaving, grad

    def _gradients_entering(
        self, dy: Tensor, leaving: Tensor, entering: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of ``a`` and ``C`` through the states that enter each chunk."""
        weighted = dy * _per_head(self.since.exp())
        states = entering.flatten(0, 1).flatten(2)  # (Z, K, H·P)
        grad_C = self.product(weighted.flatten(2), states.transpose(1, 2))
        grad_a = _sum_from((weighted * self._carried(entering)).sum(-1).transpose(1, 2))
        # The decay of the whole chunk is that of each of its steps.
        whole = (leaving * entering * self._whole_decay()).sum((2, 4)).flatten(0, 1)  # (Z, H)
        return grad_a + whole[..., None], grad_C


def _full(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """``a @ b`` of half precision operands, with sums and result in ``dtype``."""
    if not a.is_cuda:
        return a.to(dtype) @ b.to(dtype)  # exact products of the rounded operands
    lead = a.shape[:-2]
    y = torch.bmm(a.flatten(0, -3), b.flatten(0, -3), out_dtype=dtype)
    return y.view(*lead, *y.shape[1:])


def _per_head(values: Tensor) -> Tensor:
    """``(Z, H, Q) -> (Z, Q, H, 1)``, to multiply what is ``(Z, Q, H, P)``."""
    return values.transpose(1, 2)[..., None]


def _sum_from(values: Tensor) -> Tensor:
    """Sum from each place to the end of the last axis, that place included."""
    return values.flip(-1).cumsum(-1).flip(-1)


def _check(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, initial_state: Tensor | None = None
) -> None:
    sequences, length, heads, features = x.shape
    state = B.shape[-1]
    for name, tensor, shape in (
        ("dt", dt, (sequences, length, heads)),
        ("A", A, (heads,)),
        ("B", B, (sequences, length, state)),
        ("C", C, (sequences, length, state)),
        ("initial_state", initial_state, (sequences, heads, features, state)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: expected {shape}, got {tuple(tensor.shape)}")
    if length < 1:
        raise ValueError("empty sequences")
