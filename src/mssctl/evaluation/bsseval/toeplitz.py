"""Least-squares filters from one source set to another: block-Toeplitz normal equations.

With ``K`` reference channels and ``L`` taps, the correlation of channels ``i`` and ``j`` is
``X[i, j, k] = sum_n s_i[n] x_j[n + k]``, lags ``k = 0 .. L-1``. The
unknowns ``x`` are ``(L, K, m)``.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.linalg
import torch
from numpy.typing import NDArray

Real = NDArray[np.float64]

LOAD = float(np.finfo(np.float64).eps)  # museval adds it to the diagonal
BACKWARD = (
    1e-16  # the largest backward error taken from the quick solver; LU itself has 1e-17 to 6e-15
)
DEPENDENT = 1e-14  # share of a channel's energy below which it is a mix of the channels before it
ILL_CONDITIONED = 1e13  # above it museval moves by more than 1e-3 dB when all is scaled by 0.7


@dataclass(frozen=True)
class Filters:
    """Filters ``(K, L, m)`` and how they were found.

    Attributes:
        taps: from reference channel ``K`` at lag ``L`` to output ``m``.
        solver: ``levinson``, ``cholesky``, ``lu`` or ``lstsq``.
        condition: an estimate (from below) of the system's condition number.
        dropped: channels that are linear combinations of others, given filters of zeros.
    """

    taps: Real
    solver: str
    condition: float
    dropped: int


def solve(X: Real, D: Real, *, quick: bool = True) -> Filters:
    """Filters of the channels whose correlations are given.

    Linearly dependent channels (a mono source: left equals right) are left out. The span of the
    references, hence every projection, stays what it was.

    Args:
        X: correlations among the references, ``(K, K, L)``.
        D: correlations with what is to be approximated, ``(K, L, m)``.
        quick: try block Levinson first; a system of few channels is quicker by Cholesky.
    """
    keep = _independent(X[:, :, 0])
    K, L, m = D.shape
    if not keep:
        return Filters(np.zeros((K, L, m)), "none", 1.0, K)
    x, solver, condition = _solve(X[np.ix_(keep, keep)], D[keep], quick)
    taps = np.zeros((K, L, m))
    taps[keep] = x
    return Filters(taps, solver, condition, K - len(keep))


def _solve(X: Real, D: Real, quick: bool) -> tuple[Real, str, float]:
    if quick:
        M = np.ascontiguousarray(X.transpose(2, 1, 0))  # (L, K, K), M[-k] = M[k]^T
        M[0] += LOAD * np.eye(len(X))
        found = _refined(M, np.ascontiguousarray(D.transpose(1, 0, 2)))
        if found is not None:
            return found[0].transpose(1, 0, 2), "levinson", found[1]
    return _dense(X, D)


def _independent(power: Real) -> list[int]:
    """Channels that are not combinations of the ones before them, by pivots at lag 0."""
    keep: list[int] = []
    for p in range(len(power)):
        rest = total = float(power[p, p])
        if total <= 0.0:
            continue
        if keep:
            g = power[keep, p]
            rest -= float(g @ np.linalg.solve(power[np.ix_(keep, keep)], g))
        if rest > DEPENDENT * total:
            keep.append(p)
    return keep


def _levinson(M: Real, D: Real) -> tuple[Real, Real, Real, Real]:
    """Solve ``sum_a M[a - b] x_a = d_b`` block by block, in O(K^3 L^2).

    The block recursion of Whittle (1963) and Akaike (1973).

    Returns:
        The solution ``(L, K, m)``, the forward and backward predictors ``(L, K, K)``, and the two
        matrices of their errors ``(2, K, K)``.
    """
    L, K, _ = M.shape
    width = L * K
    past = np.ascontiguousarray(M[:0:-1].transpose(2, 0, 1).reshape(K, -1))  # M[L-1]^T .. M[1]^T
    FX = np.zeros((width, K + D.shape[2]))  # forward predictor | solution
    FX[:K, :K] = np.eye(K)
    FX[:K, K:] = np.linalg.solve(M[0], D[0])
    B = np.zeros((width, K))  # backward predictor; grows towards the start
    B[width - K :] = np.eye(K)
    E = np.stack((M[0], M[0]))
    for n in range(1, L):
        end = (n + 1) * K
        Y = _product(past[:, width - K - n * K :], FX[: n * K])
        miss = np.stack((Y[:, :K].T, Y[:, :K]))
        VW = np.linalg.solve(E, miss)
        b, f = B[width - end :], FX[:end, :K]
        from_b, from_f = _product(b, VW[1]), _product(f, VW[0])
        f -= from_b
        b -= from_f
        E[0] -= miss[0] @ VW[1]
        E[1] -= miss[1] @ VW[0]
        E = 0.5 * (E + E.transpose(0, 2, 1))
        FX[:end, K:] += _product(b, np.linalg.solve(E[1], D[n] - Y[:, K:]))
    return FX[:, K:].reshape(L, K, -1), FX[:, :K].reshape(L, K, K), B.reshape(L, K, K), E


def _product(a: Real, b: Real) -> Real:
    """Matrix product on torch's threads: NumPy's would wait for each other at every small step."""
    return np.asarray((torch.from_numpy(a) @ torch.from_numpy(b)).numpy())


class _Operator:
    """Products by FFT with the block-Toeplitz matrix and, by Gohberg-Semencul, its inverse."""

    def __init__(self, M: Real, F: Real, B: Real, E: Real) -> None:
        self.L, K, _ = M.shape
        self.n = scipy.fft.next_fast_len(2 * self.L, real=True)
        column = np.zeros((self.n, K, K))
        column[: self.L] = M.transpose(0, 2, 1)
        column[self.n - self.L + 1 :] = M[:0:-1]
        shifted = np.zeros_like(B)
        shifted[1:] = B[:-1]
        self.T, self.F, self.B = self._to(column), self._to(F), self._to(shifted)
        self.Ft, self.Bt = (v.conj().transpose(0, 2, 1) for v in (self.F, self.B))
        self.inverse = np.linalg.inv(E)

    def _to(self, x: Real) -> NDArray[np.complex128]:
        return np.asarray(scipy.fft.rfft(x, n=self.n, axis=0))

    def _back(self, x: NDArray[np.complex128]) -> Real:
        return np.asarray(scipy.fft.irfft(x, n=self.n, axis=0)[: self.L])

    def multiply(self, x: Real) -> Real:
        return self._back(self.T @ self._to(x))

    def solve(self, r: Real) -> Real:
        R = self._to(r)
        a = self._to(self.inverse[0] @ self._back(self.Ft @ R))
        b = self._to(self.inverse[1] @ self._back(self.Bt @ R))
        return self._back(self.F @ a - self.B @ b)

    def condition(self, steps: int = 12) -> float:
        """Largest eigenvalue over smallest, by power iteration from a fixed start."""
        start = np.random.default_rng(0).standard_normal((self.L, self.inverse.shape[1], 1))
        growth = []
        for product in (self.multiply, self.solve):
            x, size = start, 1.0
            for _ in range(steps):
                x = product(x / np.linalg.norm(x))
                size = float(np.linalg.norm(x))
            growth.append(size)
        return growth[0] * growth[1]


def _refined(M: Real, D: Real, steps: int = 4) -> tuple[Real, float] | None:
    """Levinson's answer after iterative refinement, and the condition; None if not exact enough."""
    with np.errstate(all="ignore"):  # an ill-conditioned system shows in the residual below
        try:
            x, F, B, E = _levinson(M, D)
            operator = _Operator(M, F, B, E)
        except np.linalg.LinAlgError:
            return None
        best, least = x, np.inf
        for _ in range(steps + 1):
            r = D - operator.multiply(x)
            size = float(np.abs(r).max())
            if not np.isfinite(size) or size >= least:
                break
            done = size > 0.5 * least
            best, least = x, size
            if done:
                break
            x = x + operator.solve(r)
        norm = np.abs(M[0]).sum(1).max() + 2 * np.abs(M[1:]).sum((0, 2)).max()
        error = least / (norm * np.abs(best).max() + np.abs(D).max())
        if not error < BACKWARD:
            return None
        return best, operator.condition()


def _dense(X: Real, D: Real) -> tuple[Real, str, float]:
    """Cholesky of the full matrix, then LU as museval does it."""
    K, L, m = D.shape
    rhs = D.reshape(K * L, m)
    G = _gram(X)
    norm = float(np.abs(G).sum(0).max())
    factor, failed = scipy.linalg.lapack.dpotrf(G.T, lower=0, clean=0)
    if not failed:
        x = scipy.linalg.lapack.dpotrs(factor, rhs, lower=0)[0]
        return (
            x.reshape(K, L, m),
            "cholesky",
            _reciprocal(scipy.linalg.lapack.dpocon(factor, norm)[0]),
        )
    factor, pivots, failed = scipy.linalg.lapack.dgetrf(G)
    if not failed:
        x = scipy.linalg.lapack.dgetrs(factor, pivots, rhs)[0]
        condition = _reciprocal(scipy.linalg.lapack.dgecon(factor, norm)[0])
        return x.reshape(K, L, m), "lu", condition
    x = np.asarray(np.linalg.lstsq(G, rhs, rcond=None)[0], dtype=np.float64)
    return x.reshape(K, L, m), "lstsq", float("inf")


def _gram(X: Real) -> Real:
    """The matrix of products of all delayed references, with museval's load, ``(K L, K L)``."""
    K, _, L = X.shape
    G = np.empty((K * L, K * L))
    for q in range(K):
        for p in range(K):
            v = np.concatenate((X[q, p, :0:-1], X[p, q]))
            window = np.lib.stride_tricks.sliding_window_view(v, L)[::-1]
            G[q * L : (q + 1) * L, p * L : (p + 1) * L] = window
    G.flat[:: K * L + 1] += LOAD
    return G


def _reciprocal(value: float) -> float:
    return 1.0 / value if value > 0.0 else float("inf")
