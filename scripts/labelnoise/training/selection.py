"""Small-loss selection: what a batch leaves out, since its labels are more likely wrong."""

from collections.abc import Mapping
from typing import Any

import torch


def left_out(selection: Mapping[str, Any] | None, epoch: int) -> dict[str, Any]:
    """Return what `Loss` leaves out in an epoch, as its arguments.

    The share grows from 0 in the first epoch to all of it after `ramp` epochs, as 1 - R(T) of
    co-teaching does (Han et al. 2018, "Co-teaching: Robust Training of Deep Neural Networks with
    Extremely Noisy Labels", algorithm 1 and section 4). There two networks choose for each other;
    here one chooses for itself, which costs one training, and whose own mistakes it repeats.

    Args:
        selection: the recipe's, or None.
        epoch: counted from 1.
    """
    if selection is None:
        return {}
    grown = min((epoch - 1) / selection["ramp"], 1.0) if selection["ramp"] else 1.0
    return {"left_out": grown * selection["share"], "of": selection["of"]}


def smallest(losses_K: torch.Tensor, share: float) -> torch.Tensor:
    """Return which losses are kept when that share of them, the largest, is left out.

    Args:
        losses_K: losses, (K,).
        share: 0 to below 1; of K losses the whole part of share x K goes.

    Returns:
        bool (K,). Losses that equal the largest kept one are kept as well.
    """
    kept = len(losses_K) - int(share * len(losses_K))
    # The values, unlike their places, do not depend on the device.
    limit = losses_K.detach().topk(kept, largest=False, sorted=False).values.max()
    return losses_K <= limit
