"""BSSEval v4 (SDR, ISR, SIR, SAR) with museval's numbers, many times faster.

museval 0.4.1 is the reference. With the estimate ``e`` of source ``s``, ``P`` the projection of
``e`` on all delayed references and ``P1`` that on the delayed reference of its own source:
SDR = |s|^2/|e-s|^2, ISR = |s|^2/|P1-s|^2, SIR = |P1|^2/|P-P1|^2, SAR = |P|^2/|e-P|^2, in dB, per
window; the filters are those of the whole track. A window in which any reference or estimate is
silent (the sum over its channels is zero throughout) is NaN for every source; no error is +inf.
Source: Vincent et al., "First stereo audio source separation evaluation campaign" (2007), and
Stoeter et al., "The 2018 signal separation evaluation campaign" (arXiv:1804.06267).

Quick because spectra of windows are taken once, serve correlations and (by Parseval) energies,
and one block-Toeplitz solve serves all estimates.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mssctl.config.metrics import FRAMEWISE
from mssctl.evaluation.bsseval.spectra import Real, Spectra, correlations, energies
from mssctl.evaluation.bsseval.toeplitz import ILL_CONDITIONED, Filters, solve

TAPS = 512
MEMORY = 2.0e9  # bytes of spectra held at a time
METRICS = tuple(FRAMEWISE)  # in the order of museval


@dataclass(frozen=True)
class BSSEval:
    """Scores in dB, each ``(S, T)`` (sources, windows), and how far they can be trusted.

    Attributes:
        sdr, isr, sir, sar: NaN where a source is silent.
        condition: of the normal equations; above `ILL_CONDITIONED` two exact programs differ.
        solver: how the filters of all sources were found.
        dropped: reference channels that are linear combinations of others.
    """

    sdr: Real
    isr: Real
    sir: Real
    sar: Real
    condition: float
    solver: str
    dropped: int

    @property
    def ill_conditioned(self) -> bool:
        """ISR, SIR and SAR are not defined to 1e-3 dB. SDR, which needs no filters, always is."""
        return not self.condition < ILL_CONDITIONED

    @property
    def limit(self) -> float:
        """Scores above this, in dB, are rounding: the square of condition times precision."""
        return -20.0 * math.log10(min(self.condition * float(np.finfo(np.float64).eps), 1.0))


def windows(length: int, window: float, hop: float) -> list[tuple[int, int]]:
    """Windows as museval cuts them, (start, stop); one if the track is no longer than a window."""
    if not window > 0.0 or not hop > 0.0:
        raise ValueError("window and hop are above zero")
    if window >= length:
        return [(0, length)]
    number = math.floor((length - window + hop) / hop)
    spans = ((t * hop, min(t * hop + window, length)) for t in range(number))
    return [(math.floor(start), math.floor(stop)) for start, stop in spans]


def bsseval(
    references: NDArray[np.floating],
    estimates: NDArray[np.floating],
    *,
    window: float = 44_100,
    hop: float = 44_100,
    taps: int = TAPS,
    threads: int = 2,
    memory: float = MEMORY,
) -> BSSEval:
    """Score all sources of a track together.

    Args:
        references: the true sources ``(S, N, C)``, as museval takes them.
        estimates: as many of the same shape.
        window: samples; infinite for one window over everything.
        hop: samples from one window to the next.
        taps: length of the filters.
        threads: windows and blocks of bins computed at once.
        memory: bytes for spectra; beyond, they are computed twice in batches of windows.

    Raises:
        ValueError: unequal shapes, samples that are not finite, fewer than ``taps`` samples, or a
            source that is silent throughout.
    """
    s, e = _checked(references, estimates, taps)
    S, N, C = s.shape
    spans = windows(N, window, hop)
    tiles = len(spans) > 1 and hop == window and float(window).is_integer() and window >= taps
    size = int(window) if tiles else min(44_100, N)
    blocks = [(start, min(start + size, N)) for start in range(0, N, size)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the pool's threads work on different windows and bins instead
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        spectra = Spectra(s, e, blocks, taps, memory, pool)
        X = correlations(spectra, taps)
        every, own = _filters(X, S, C, pool)
        if not tiles:
            spectra = Spectra(s, e, spans, taps, memory, pool)
        energy = energies(spectra, every.taps, np.stack([f.taps for f in own]))[..., : len(spans)]
    finally:
        pool.shutdown()
        torch.set_num_threads(before)
    P, P1, interference, spatial, artifacts = energy
    true, error, silent = _plain(s, e, spans)
    return BSSEval(
        sdr=_decibels(true, error, silent),
        isr=_decibels(true, spatial, silent),
        sir=_decibels(P1, interference, silent),
        sar=_decibels(P, artifacts, silent),
        condition=max(found.condition for found in (every, *own)),
        solver=every.solver,
        dropped=every.dropped,
    )


def framewise_sdr(
    references: NDArray[np.floating],
    estimates: NDArray[np.floating],
    *,
    window: float = 44_100,
    hop: float = 44_100,
) -> Real:
    """SDR of BSSEval v4 alone, ``(S, T)``: it needs no filters, for the error terms sum to e - s.

    Args:
        references: ``(S, N, C)``.
        estimates: of the same shape.
        window: samples.
        hop: samples from one window to the next.
    """
    s, e = np.asarray(references), np.asarray(estimates)
    return _decibels(*_plain(s, e, windows(s.shape[1], window, hop)))


def _checked(
    references: NDArray[np.floating], estimates: NDArray[np.floating], taps: int
) -> tuple[Real, Real]:
    s, e = (np.asarray(x, dtype=np.float64) for x in (references, estimates))
    if s.ndim != 3 or s.shape != e.shape:
        raise ValueError(f"references are {s.shape}, estimates {e.shape}; both must be (S, N, C)")
    if s.shape[1] < taps:
        raise ValueError(f"{s.shape[1]} samples are fewer than the {taps} taps of the filters")
    for name, x in (("reference", s), ("estimate", e)):
        if not np.isfinite(x).all():
            raise ValueError(f"the {name}s have samples that are NaN or infinite")
        if any(_silent(source) for source in x):
            raise ValueError(f"an {name} is silent throughout")
    return s, e


def _filters(X: Real, S: int, C: int, pool: ThreadPoolExecutor) -> tuple[Filters, list[Filters]]:
    """Filters from all references to all estimates, and from each to its own."""
    K = S * C
    D = np.ascontiguousarray(X[:, K:].transpose(0, 2, 1))  # (K, L, K)

    def one(j: int) -> Filters:
        c = slice(j * C, (j + 1) * C)
        return solve(X[c, c], np.ascontiguousarray(D[c, :, c]), quick=False)

    own = list(pool.map(one, range(S))) if S > 1 else []
    every = solve(X[:, :K], D)
    return every, own or [every]


def _plain(
    s: NDArray[np.floating], e: NDArray[np.floating], spans: list[tuple[int, int]]
) -> tuple[Real, Real, NDArray[np.bool_]]:
    """Energy of the references and of the whole error ``(S, T)``, and which windows are silent."""
    true, error = np.zeros((2, len(s), len(spans)))
    silent = np.zeros(len(spans), dtype=bool)
    for t, (start, stop) in enumerate(spans):
        silent[t] = any(_silent(x[start:stop]) for x in (*s, *e))
        for j in range(len(s)):
            a = np.asarray(s[j, start:stop], dtype=np.float64).ravel()
            d = np.asarray(e[j, start:stop], dtype=np.float64).ravel() - a
            true[j, t], error[j, t] = np.dot(a, a), np.dot(d, d)
    return true, error, silent


def _silent(source: NDArray[np.floating]) -> bool:
    """By museval's rule: the sum over the channels of ``(N, C)`` is zero throughout."""
    return not (source[:TAPS].sum(axis=1).any() or source.sum(axis=1).any())


def _decibels(signal: Real, noise: Real, silent: NDArray[np.bool_]) -> Real:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(noise == 0.0, np.inf, 10.0 * np.log10(signal / noise))
    return np.where(silent, np.nan, values)
