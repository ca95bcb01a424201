"""What cases are called outside the dataset file: neutral names instead of patients' own."""

from collections.abc import Mapping, Sequence
from typing import Any

# So that a few more patients do not change how the others' names are written.
FEWEST_DIGITS = 3


def shown_names(cases: Sequence[str], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what each case of a source is called in all that is made from its dataset.

    Args:
        cases: the source's names, in its order.
        settings: the dataset's. Where `case_names` is neutral, cases are case001, case002 ... in
            the source's order, so a case that is added there moves the names behind it; the dataset
            and all that follows is made again then anyway. Otherwise, and for sources that have no
            such setting, since their names are of no person, names stay as they are.

    Returns:
        {name in the source: name}.
    """
    if settings.get("case_names") != "neutral":
        return {case: case for case in cases}
    digits = max(FEWEST_DIGITS, len(str(len(cases))))
    return {case: f"case{number:0{digits}d}" for number, case in enumerate(cases, start=1)}
