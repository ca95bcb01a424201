"""What is known of a training that another program did."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a trainer says of its training beside its predictions.

    Attributes:
        seconds: of each epoch, its own validation included; one number where no epoch is known.
        history: further columns of each epoch, as many mappings; empty where nothing is known.
        parameters: of the network, None if unknown.
        facts: what else goes into run.json, what JSON can hold.
    """

    seconds: list[float]
    history: list[dict[str, Any]] = field(default_factory=list)
    parameters: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
