"""Where the optimum of a loss decides; needs no torch, for what computes with counts alone."""

from labelnoise.data.storage import Dataset

# Losses of single pixels that treat two classes alike: whatever else they make of a pixel that is
# foreground with probability P, their optimum says more than 0.5 where P does. It is P itself under
# cross-entropy, nearer to 0.5 with smoothed labels, and nearer to 0 or 1 under the others.
EVEN = (
    "cross_entropy",
    "generalised_cross_entropy",
    "symmetric_cross_entropy",
    "soft_bootstrapping",
    "hard_bootstrapping",
)


def decision_odds(name: str | None, background_share: float | None = None) -> float | None:
    """Return the odds of foreground above which a network that has learned all says more than 0.5.

    Args:
        name, background_share: see `losses.make_loss`; None, see `Recipe.deciding_loss`.

    Returns:
        1 for the losses of EVEN; q for cross-entropy over a share q of the background, whose
        optimum has odds 1 / q as large; None for other losses, whose optimum is no function of a
        pixel's own odds, or is not known to us. With several structures, 1 is exact where a pixel
        is claimed by one of them at most and labels are not smoothed.
    """
    if name == "class_sampled_cross_entropy":
        return background_share
    return 1.0 if name in EVEN else None


def background_share(share: float | None, data: Dataset) -> float:
    """Return the share of background that a recipe keeps: its own, or the foreground fraction."""
    return share or 1 - data.foreground_fraction[0]
