"""Where the optimum of a loss decides; needs no torch, for what computes with counts alone."""

from labelnoise.data.storage import Dataset


def decision_odds(name: str, background_share: float | None = None) -> float | None:
    """Return the odds of foreground above which a network that has learned all says more than 0.5.

    Args:
        name, background_share: see `losses.make_loss`.

    Returns:
        1 for cross-entropy, whose optimum is the probability itself; q for cross-entropy over a
        share q of the background, whose optimum has odds 1 / q as large; None for other losses,
        whose optimum is no function of a pixel's own odds, or is not known to us.
    """
    if name == "class_sampled_cross_entropy":
        return background_share
    return 1.0 if name == "cross_entropy" else None


def background_share(share: float | None, data: Dataset) -> float:
    """Return the share of background that a recipe keeps: its own, or the foreground fraction."""
    return share or 1 - data.foreground_fraction[0]
