"""Which samples make up which step's batch: decided by the seed and the step alone, so that a run goes on exactly."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np

__all__ = ["Order", "step_seed"]


class Order:
    """Batches of samples of one shape each ("buckets"), every sample once an epoch, in another order each time.

    ``shapes``: of each sample, anything that can be compared; ``batch``: samples of a step over all processes. A bucket
    that does not come out even is filled up from its own start.
    """

    def __init__(self, shapes: Sequence[Hashable], batch: int, seed: int) -> None:
        buckets: dict[Hashable, list[int]] = {}
        for index, shape in enumerate(shapes):
            buckets.setdefault(shape, []).append(index)
        self._buckets, self._batch, self._seed = list(buckets.values()), batch, seed
        self.per_epoch = sum(-(-len(bucket) // batch) for bucket in self._buckets)
        self._epoch = lru_cache(maxsize=1)(self._shuffled)

    def batch(self, step: int) -> list[int]:
        """The samples of one step."""
        epoch, place = divmod(step, self.per_epoch)
        return self._epoch(epoch)[place]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self._seed, epoch])
        batches = []
        for bucket in self._buckets:
            order = rng.permutation(bucket)
            count = -(-len(order) // self._batch)
            whole = np.resize(order, count * self._batch)  # repeats from the start
            batches += [part.tolist() for part in whole.reshape(count, self._batch)]
        return [batches[i] for i in rng.permutation(len(batches))]


def step_seed(seed: int, step: int, rank: int) -> int:
    """A seed for what is drawn in one step of one process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)
