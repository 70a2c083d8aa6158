"""How paths are divided: into shares that are run apart, and into chunks of a share."""

from collections.abc import Iterator
from typing import NamedTuple

# What a chunk of paths would take as saved states, in bytes: at most, and at least if there
# are so many paths. A chunk is never held whole; its size is how often one hears of it.
_MOST, _LEAST = 2**24, 2**21
# Chunks to have at least, for devices to share in.
_CHUNKS = 8
# Blocks are of a multiple of so many paths, that nearly equal shares compile one program.
_ALIGNED = 64


class Range(NamedTuple):
    """Paths `first`, …, `last − 1`."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many paths."""
        return self.last - self.first


def share(num_paths: int, i: int, of: int) -> Range:
    """The `i`-th of so many contiguous shares that differ by at most one path."""
    return Range(num_paths * i // of, num_paths * (i + 1) // of)


def block_size(num_paths: int, most: int) -> int:
    """Paths that are simulated together: at most so many, with few to fill up the last."""
    even = -(-num_paths // -(-num_paths // most))
    return min(-(-even // _ALIGNED) * _ALIGNED, most)


def default_chunk_size(num_paths: int, bytes_of_a_path: int, block: int) -> int:
    """Whole blocks, so that none is filled up but the last."""
    most, least = (max(1, limit // bytes_of_a_path) for limit in (_MOST, _LEAST))
    wanted = min(max(-(-num_paths // _CHUNKS), least), most, num_paths)
    return max(1, round(wanted / block)) * block


def chunks_of(paths: Range, chunk_size: int) -> Iterator[Range]:
    """Chunks in order, of which the last may be smaller."""
    for first in range(paths.first, paths.last, chunk_size):
        yield Range(first, min(first + chunk_size, paths.last))
