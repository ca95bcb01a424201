"""Raters as a kind of label error makes them, around the consensus of those who outlined an object.

Shape legend: R raters, Z slices, H height, W width, O objects, K statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from labelnoise.labels.rater import rater
from labelnoise.labels.raters.statistics import (
    Differences,
    Outline,
    Outlined,
    compare,
    radius_of,
)
from labelnoise.labels.volume import Draw, LabelVolume

ROOM = 0.3  # of the radius, around what people outlined
LEAST_ROOM = 8  # pixels

# From labels of an object and where random numbers come from to the mask of a rater.
Hand = Callable[[LabelVolume, Draw], np.ndarray]


class Subject:
    """An object to simulate raters of: its consensus, and what people's outlines of it tell.

    Attributes:
        name: of the object.
        labels: 1 in the consensus, with room around it.
        real: how people differ.
        people: how many they are.
    """

    def __init__(self, outlined: Outlined):
        radius = radius_of(outlined.consensus_ZHW, outlined.spacing_3)
        room = [ceil(ROOM * radius / side) for side in outlined.spacing_3[1:]]
        between = outlined.spacing_3[0]
        around = 0 if np.isnan(between) else max(2, ceil(ROOM * radius / between))
        self._margins = [(around, around), *((max(LEAST_ROOM, each),) * 2 for each in room)]
        consensus_ZHW = self.place(outlined.consensus_ZHW)
        self.name, self.people = outlined.name, len(outlined.masks_RZHW)
        self.labels = LabelVolume(consensus_ZHW.astype(np.uint8), outlined.spacing_3)
        self._outline, self._radius = Outline(consensus_ZHW, outlined.spacing_3), radius
        self.real = self.compare([self.place(mask_ZHW) for mask_ZHW in outlined.masks_RZHW])

    def place(self, mask_ZHW: np.ndarray) -> np.ndarray:
        """Return a mask that people made on the grid of the labels."""
        return np.pad(mask_ZHW, self._margins)

    def compare(self, masks: Sequence[np.ndarray]) -> Differences:
        """Return how masks on the grid of the labels differ."""
        consensus_ZHW = self.labels.structure(1).mask_ZHW
        return compare(np.stack(masks), consensus_ZHW, self._outline, self._radius, self.people)

    def simulate(self, hand: Hand, number: int, seed: int, place: int) -> Differences:
        """Return how simulated raters differ.

        Args:
            hand: makes a rater's mask (Z, H, W), bool, of labels and a draw.
            number: how many raters.
            seed: of their random numbers.
            place: number of the object among others.
        """
        draws = [Draw(seed, each, place, place) for each in range(number)]
        return self.compare([hand(self.labels, draw) for draw in draws])


def hand_of(settings: Mapping[str, Any]) -> Hand:
    """Return the hand of the kind `rater` with its severity and settings."""

    def hand(labels: LabelVolume, draw: Draw) -> np.ndarray:
        return rater(labels.union(1), draw=draw, wanted=range(len(labels)), **settings)

    return hand


def simulate(subjects: Sequence[Subject], hand: Hand, number: int, seed: int) -> list[Differences]:
    """Return how so many simulated raters of each object differ."""
    return [subject.simulate(hand, number, seed, place) for place, subject in enumerate(subjects)]
