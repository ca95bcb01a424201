"""The short names of the 2018 code, accepted wherever a command line names a part of the study."""

from collections.abc import Collection, Mapping

from labelnoise.errors import InputError

# Size and kind of a short name such as `mchop`, and what they are in a name such as `choppy-0.90`.
SIZES = {"s": "0.95", "m": "0.90", "l": "0.85"}
KINDS = {"nat": "natural", "chop": "choppy", "rnd": "random"}
PERTURBATIONS = {
    "none": "control",
    **{size + kind: f"{KINDS[kind]}-{SIZES[size]}" for kind in KINDS for size in SIZES},
}
MODELS = {"fcn": "fcn32"}


def full_name(
    what: str, name: str, defined: Collection[str], short: Mapping[str, str] | None = None
) -> str:
    """Return the config's name for a name of the command line, whatever its case.

    Args:
        what: what is named, for the message: "dataset", "model" ...
        name: the name as given.
        defined: the names that the config defines.
        short: {short name: name}.

    Raises:
        InputError: no such name; the message lists the valid ones.
    """
    short = short or {}
    by_lower = {known.lower(): known for known in defined}
    lower = name.lower()
    if name in defined:
        return name
    if lower in by_lower:
        return by_lower[lower]
    if short.get(lower) in by_lower.values():
        return short[lower]
    shorts = [key for key, value in short.items() if value in by_lower.values()]
    also = f" (also {', '.join(shorts)})" if shorts else ""
    known = ", ".join(defined) or "none"
    raise InputError(f"there is no {what} '{name}'; there are: {known}{also}.")
