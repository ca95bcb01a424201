"""Kinds of label error of the user's own, held to what calibration and training need of a kind.

Shape legend: H height, W width.
"""

import numpy as np

from labelnoise.errors import InputError
from labelnoise.own_code import describe_failure, load_own, whose


def perturb_own(
    mask_HW: np.ndarray, kind: str, severity: float, rng: np.random.Generator
) -> np.ndarray:
    """Perturb one binary mask by a function of the user's: `function(mask_HW, severity, rng)`.

    It gets a mask that it cannot change, and returns a mask of the same shape, of truth values or
    of the whole numbers 0 and 1.

    Args:
        mask_HW: binary mask, uint8 in {0, 1}.
        kind: the function's name, such as mykinds.shave.
        severity: what the function makes of it, at least 0.
        rng: NumPy generator.

    Returns:
        A new mask, uint8 in {0, 1}.

    Raises:
        InputError: the function cannot be loaded, raises, or returns something else.
    """
    function = load_own(kind)
    if not callable(function):
        raise InputError(f"{whose(kind)} is no function but {_described(function)}.")
    given_HW = mask_HW.view()
    given_HW.flags.writeable = False
    try:
        wrong_HW = function(given_HW, severity, rng)
    except Exception as error:
        raise InputError(describe_failure(kind, error)) from error
    is_mask = (
        isinstance(wrong_HW, np.ndarray)
        and wrong_HW.shape == mask_HW.shape
        and wrong_HW.dtype.kind in "bui"
        and not ((wrong_HW != 0) & (wrong_HW != 1)).any()
    )
    if not is_mask:
        raise InputError(
            f"{whose(kind)} returns {_described(wrong_HW)} for a mask {mask_HW.shape} at severity "
            f"{severity:g}; expected an array of that shape, of truth values or of the whole "
            "numbers 0 and 1."
        )
    return wrong_HW.astype(np.uint8)


def check_own_kind(kind: str, severity: float | None = None) -> None:
    """Try a kind of the user's on small masks, at severities up to 1 and the given one.

    Args:
        kind: its name, such as mykinds.shave.
        severity: one that will be used.

    Raises:
        InputError: see `perturb_own`; or severity 0 changes a mask; or equal generators give
            different masks.
    """
    severities = dict.fromkeys([0.0, 0.5, 1.0, *([] if severity is None else [severity])])
    for size in severities:
        for mask_HW in _masks():
            first_HW, again_HW = (
                perturb_own(mask_HW, kind, size, np.random.default_rng(0)) for _ in range(2)
            )
            if size == 0 and (first_HW != mask_HW).any():
                raise InputError(
                    f"{whose(kind)} changes a mask at severity 0; make it return the mask as it is."
                )
            if (first_HW != again_HW).any():
                raise InputError(
                    f"{whose(kind)} makes different masks of equal generators; let every random "
                    "number come from its third argument, rng."
                )


def _masks():
    """Return what occurs: an object, several with holes, at the edge, all, one pixel, nothing."""
    rows, columns = np.mgrid[:40, :48]
    disc_HW = np.hypot(rows - 20, columns - 22) <= 12
    ring_HW = disc_HW & (np.hypot(rows - 20, columns - 22) > 6)
    edge_HW = np.hypot(rows - 38, columns - 45) <= 9
    pixel_HW = (rows == 3) & (columns == 7)
    full_HW = np.ones((17, 16), bool)
    empty_HW = np.zeros((16, 17), bool)
    several = (disc_HW, ring_HW | edge_HW, pixel_HW, full_HW, empty_HW)
    return [mask_HW.astype(np.uint8) for mask_HW in several]


def _described(value):
    if not isinstance(value, np.ndarray):
        return f"a value of type {type(value).__name__}"
    values = f", values from {value.min()} to {value.max()}" if value.size else ""
    return f"an array {value.shape} of {value.dtype}{values}"
