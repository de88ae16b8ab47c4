"""Spectra of zero-padded windows: correlations of whole tracks, energies of filtered windows."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

Real = NDArray[np.float64]
Spans = list[tuple[int, int]]

_BLOCK = 64  # bins handled together, so that a block stays in the cache


class Spectra:
    """``(blocks, T, 2K, bins)`` of a batch of windows, the reference channels first.

    Args:
        references: ``(S, N, C)``.
        estimates: of the same shape.
        spans: start and stop of each window.
        taps: length of the filters; windows are padded by it, so that filtering does not wrap.
        memory: bytes held at a time.
        pool: threads.
    """

    def __init__(
        self,
        references: Real,
        estimates: Real,
        spans: Spans,
        taps: int,
        memory: float,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.sources = (references, estimates)
        self.spans, self.pool = spans, pool
        self.S, _, self.C = references.shape
        self.K = self.S * self.C
        longest = max(stop - start for start, stop in spans)
        self.n = scipy.fft.next_fast_len(longest + taps - 1, real=True)
        while self.n % 2:  # so that there is a bin at half the rate
            self.n = scipy.fft.next_fast_len(self.n + 1, real=True)
        self.bins = self.n // 2 + 1
        self.blocks = -(-self.bins // _BLOCK)
        size = max(1, int(memory // (self.blocks * _BLOCK * 2 * self.K * 16)))
        size = min(size, len(spans))
        self.batches = [(t, min(t + size, len(spans))) for t in range(0, len(spans), size)]
        self._Z = torch.empty((self.blocks, size, 2 * self.K, _BLOCK), dtype=torch.complex128)
        self._held: tuple[int, int] | None = None
        self._own = threading.local()  # buffers of each thread: fresh memory is slow to touch

    def load(self, batch: tuple[int, int]) -> None:
        """Take the spectra of a batch of windows, unless they are there."""
        if self._held == batch:
            return
        list(self.pool.map(lambda t: self._one(t, t - batch[0]), range(*batch)))
        self._held = batch

    def block(self, number: int, count: int) -> torch.Tensor:
        """Block of bins of the first ``count`` windows, ``(bins, count, 2K)``."""
        return self._Z[number, :count].permute(2, 0, 1).contiguous()

    def _one(self, t: int, place: int) -> None:
        start, stop = self.spans[t]
        own = self._own
        if not hasattr(own, "x"):
            own.x = np.zeros((2, self.S, self.C, self.n))
            own.Z = torch.zeros((2 * self.K, self.blocks * _BLOCK), dtype=torch.complex128)
        x, Z = own.x, own.Z
        for group, audio in enumerate(self.sources):
            x[group, ..., : stop - start] = audio[:, start:stop].transpose(0, 2, 1)
        x[..., stop - start :] = 0.0
        torch.fft.rfft(torch.from_numpy(x).view(2 * self.K, -1), out=Z[:, : self.bins])
        self._Z[:, place].copy_(Z.view(2 * self.K, self.blocks, _BLOCK).permute(1, 0, 2))


def correlations(spectra: Spectra, taps: int) -> Real:
    """Correlations of each reference with everything over the whole track, ``(K, 2K, taps)``.

    The windows tile the track. Pairs of samples in two neighboring windows are added apart.
    """
    K = spectra.K
    cross = torch.zeros((K, 2 * K, spectra.blocks * _BLOCK), dtype=torch.complex128)
    for batch in spectra.batches:
        spectra.load(batch)
        count = batch[1] - batch[0]

        def add(number: int, count: int = count) -> None:
            Z = spectra.block(number, count)  # (bins, T, 2K)
            R = torch.view_as_real(Z).flatten(2)  # (bins, T, 4K): one real product is quicker
            A = torch.bmm(R.view(_BLOCK, count, 2 * K, 2)[:, :, :K].flatten(2).mT, R)
            A = A.view(_BLOCK, K, 2, 2 * K, 2)
            real = A[:, :, 0, :, 0] + A[:, :, 1, :, 1]
            imaginary = A[:, :, 0, :, 1] - A[:, :, 1, :, 0]
            bins = slice(number * _BLOCK, (number + 1) * _BLOCK)
            cross[:, :, bins] += torch.complex(real, imaginary).permute(1, 2, 0)

        list(spectra.pool.map(add, range(spectra.blocks)))
    X = np.empty((K, 2 * K, taps))

    def back(i: int) -> None:
        X[i] = torch.fft.irfft(cross[i, :, : spectra.bins], n=spectra.n)[:, :taps].numpy()

    list(spectra.pool.map(back, range(K)))
    return X + _straddling(spectra, taps)


def _straddling(spectra: Spectra, taps: int) -> Real:
    """Products of samples before a cut between windows with samples after it, summed over cuts."""
    K, reach = spectra.K, taps - 1
    n = scipy.fft.next_fast_len(2 * reach + 1, real=True)
    total = np.zeros((n // 2 + 1, K, 2 * K), dtype=np.complex128)
    for start, cut in spectra.spans[:-1]:
        length = min(reach, cut - start)
        tail = np.zeros((K, reach))
        tail[:, reach - length :] = _flat(spectra.sources[0][:, cut - length : cut])
        head = np.zeros((2 * K, n))
        for group, audio in enumerate(spectra.sources):
            after = _flat(audio[:, cut : cut + reach])
            head[group * K : (group + 1) * K, reach : reach + after.shape[1]] = after
        T, H = scipy.fft.rfft(tail, n=n).T, scipy.fft.rfft(head).T  # (bins, K), (bins, 2K)
        total += T.conj()[:, :, None] * H[:, None, :]
    return np.asarray(scipy.fft.irfft(total, n=n, axis=0)[:taps].transpose(1, 2, 0))


def energies(spectra: Spectra, every: Real, own: Real) -> Real:
    """Energies per source and window, by Parseval: ``(5, S, T)``.

    Args:
        spectra: of the windows to score.
        every: filters from all references, ``(K, L, K)``.
        own: filters from each source's own references, ``(S, C, L, C)``.

    Returns:
        Of ``P``, ``P1``, ``P - P1``, ``P1 - s`` and ``e - P``.
    """
    S, C, K = spectra.S, spectra.C, spectra.K
    H = torch.zeros((2, K, K, spectra.blocks * _BLOCK), dtype=torch.complex128)
    H[0, ..., : spectra.bins] = _response(every, spectra.n)
    for j in range(S):
        c = slice(j * C, (j + 1) * C)
        H[1, c, c, : spectra.bins] = _response(own[j], spectra.n)
    weight = torch.zeros(spectra.blocks * _BLOCK, dtype=torch.float64)
    weight[: spectra.bins] = 2.0 / spectra.n
    weight[[0, spectra.n // 2]] = 1.0 / spectra.n  # DC and Nyquist have no mirror image
    out = np.zeros((5, S, len(spectra.spans)))
    for batch in spectra.batches:
        spectra.load(batch)
        count = batch[1] - batch[0]

        def add(number: int, count: int = count) -> NDArray[np.float64]:
            bins = slice(number * _BLOCK, (number + 1) * _BLOCK)
            h = torch.cat((H[0, :, :, bins], H[1, :, :, bins]), dim=1).permute(2, 0, 1)
            root = weight[bins].sqrt()[:, None, None]
            Z = spectra.block(number, count) * root  # (bins, T, 2K)
            found = np.zeros((5, count, S))
            step = max(1, min(_BLOCK, 2_000_000 // (count * K * 64)))
            buffer = np.empty((step, count, K), dtype=np.complex128)
            for low in range(0, _BLOCK, step):
                z = Z[low : low + step]
                PQ = torch.bmm(z[..., :K], h[low : low + step].contiguous()).numpy()
                s, e = z[..., :K].numpy(), z[..., K:].numpy()
                P, Q, room = PQ[..., :K], PQ[..., K:], buffer[: len(z)]
                both = _power(PQ, 2 * S)
                found[0] += both[:, :S]
                found[1] += both[:, S:]
                for row, (a, b) in enumerate(((P, Q), (Q, s), (e, P)), start=2):
                    found[row] += _power(np.subtract(a, b, out=room), S)
            return found

        total = sum(spectra.pool.map(add, range(spectra.blocks)))
        out[:, :, batch[0] : batch[1]] = np.asarray(total).transpose(0, 2, 1)
    return out


def _response(taps: Real, n: int) -> torch.Tensor:
    """Filters ``(K, L, m)`` as spectra ``(K, m, bins)``."""
    rows = torch.from_numpy(np.ascontiguousarray(taps.transpose(0, 2, 1)))
    spectra: torch.Tensor = torch.fft.rfft(rows, n=n)
    return spectra


def _power(x: NDArray[np.complex128], sources: int) -> Real:
    """Energy ``(T, sources)`` of ``(bins, T, channels)``."""
    v = x.reshape(len(x), -1).view(np.float64)
    return np.asarray(np.einsum("ij,ij->j", v, v).reshape(x.shape[1], sources, -1).sum(2))


def _flat(audio: Real) -> Real:
    """``(S, N, C)`` as ``(K, N)``."""
    return audio.transpose(0, 2, 1).reshape(-1, audio.shape[1])
