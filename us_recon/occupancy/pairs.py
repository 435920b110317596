"""Numbers for pairs of numbers: what makes equal edges and vertices one, in linear time."""

import numpy as np
from jaxtyping import Int64

from us_recon.compiled import compiled

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth's multiplicative hashing


def distinct_pairs(
    first: Int64[np.ndarray, " n"], second: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " distinct"]]:
    """Number pairs, equal ones alike, in the order in which they first appear.

    Returns:
        The number of each pair, and where each number appears first.
    """
    slots = 1 << max(2 * len(first), 2).bit_length()
    number = np.empty(len(first), np.int64)
    place = np.empty(len(first), np.int64)
    count = _number(first, second, np.full(slots, -1, np.int64), number, place)
    return number, place[:count]


@compiled
def _number(
    first: Int64[np.ndarray, " n"],
    second: Int64[np.ndarray, " n"],
    table: Int64[np.ndarray, " slots"],
    number: Int64[np.ndarray, " n"],
    place: Int64[np.ndarray, " n"],
) -> int:
    """Fill `number` and `place` by way of a hash table with open addressing."""
    mask = len(table) - 1
    count = 0
    for n in range(len(first)):
        mixed = (np.uint64(first[n]) * _MIX + np.uint64(second[n])) * _MIX
        slot = np.int64(mixed >> np.uint64(32)) & mask
        while True:
            held = table[slot]
            if held < 0:
                table[slot] = count
                place[count] = n
                number[n] = count
                count += 1
                break
            if first[place[held]] == first[n] and second[place[held]] == second[n]:
                number[n] = held
                break
            slot = (slot + 1) & mask
    return count
