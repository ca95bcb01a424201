"""Jobs on slots: each takes the slot that is free first, in the order given."""

import heapq


def slot_ends(ends, lengths):
    """When each slot is free after all jobs, in no order.

    Args:
        ends: when each slot is free before, in any unit of time.
        lengths: how long each job takes, in that unit.
    """
    ends = list(ends)
    heapq.heapify(ends)
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return ends
