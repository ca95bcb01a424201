"""Shapes that a phantom is cut into, and the grid of pixels that they are painted on.

Coordinates are relative: x to the right and y down run from -1 to 1 over the slice.

Shape legend: H height, W width, T steps of the angle, K balls.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

ANGLE_T = np.linspace(-np.pi, np.pi, 721)
COSINE_T, SINE_T = np.cos(ANGLE_T), np.sin(ANGLE_T)
# Blur of the scanner, about 1.6 mm; at small sizes the pixel is wider and blurs more.
BLUR = 0.008
Bounds = tuple[float, float, float, float]


class Shape(Protocol):
    """What a grid paints."""

    def bounds(self) -> Bounds:
        """Return the lowest and highest x, then the lowest and highest y."""

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the signed distance of places to the border, negative inside."""


class Grid:
    """Pixel centres of a square slice, and how shapes meet them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pixel = 2 / size
        self.width = max(self.pixel, BLUR)
        self.axis = (np.arange(size) + 0.5) * self.pixel - 1

    def window(self, shape: Shape) -> tuple[slice, ...]:
        """Return the rows and columns that the shape and its soft border can touch."""
        low_x, high_x, low_y, high_y = shape.bounds()
        low = np.searchsorted(self.axis, [low_y - self.width, low_x - self.width])
        high = np.searchsorted(self.axis, [high_y + self.width, high_x + self.width])
        return tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))

    def paint(self, image_HW: np.ndarray, shape: Shape, hu: float) -> None:
        """Mix the shape's value into the image by the share of each pixel it covers."""
        rows, columns = self.window(shape)
        distance = shape.distance(self.axis[columns][None], self.axis[rows][:, None])
        share = np.clip(0.5 - distance / self.width, 0, 1)
        image_HW[rows, columns] += share * (hu - image_HW[rows, columns])

    def inside(self, shape: Shape) -> np.ndarray:
        """Return labels (H, W) uint8: 1 where the pixel's centre lies inside the shape."""
        labels_HW = np.zeros((self.size, self.size), np.uint8)
        rows, columns = self.window(shape)
        distance = shape.distance(self.axis[columns][None], self.axis[rows][:, None])
        labels_HW[rows, columns] = distance < 0
        return labels_HW


@dataclass
class Outline:
    """A closed curve around a centre: the radius at every angle of ANGLE_T."""

    x: float
    y: float
    radius_T: np.ndarray

    def bounds(self) -> Bounds:
        x_T, y_T = self.points()
        return x_T.min(), x_T.max(), y_T.min(), y_T.max()

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of the curve at every angle."""
        return self.x + self.radius_T * COSINE_T, self.y + self.radius_T * SINE_T

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the signed distance; exact in sign, to first order in size."""
        x, y = x - self.x, y - self.y
        angle = np.arctan2(y, x)
        radius = np.interp(angle, ANGLE_T, self.radius_T)
        # Where the curve runs askew to the ray, it is nearer than the ray is long.
        slope_T = np.gradient(self.radius_T, ANGLE_T)
        cosine = np.interp(angle, ANGLE_T, self.radius_T / np.hypot(self.radius_T, slope_T))
        return (np.hypot(x, y) - radius) * cosine


@dataclass
class Chain:
    """The union of balls cut at one height: centres and radii (K,)."""

    x_K: np.ndarray
    y_K: np.ndarray
    radius_K: np.ndarray

    def bounds(self) -> Bounds:
        if not len(self.x_K):
            return 0.0, 0.0, 0.0, 0.0
        low_x, high_x = (self.x_K - self.radius_K).min(), (self.x_K + self.radius_K).max()
        low_y, high_y = (self.y_K - self.radius_K).min(), (self.y_K + self.radius_K).max()
        return low_x, high_x, low_y, high_y

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        nearest = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf)
        for centre_x, centre_y, radius in zip(self.x_K, self.y_K, self.radius_K, strict=True):
            np.minimum(nearest, np.hypot(x - centre_x, y - centre_y) - radius, out=nearest)
        return nearest


@dataclass
class Ellipse:
    """An ellipse with half axes a and b, the first turned by `turn` radians from x."""

    x: float
    y: float
    a: float
    b: float
    turn: float = 0.0

    def bounds(self) -> Bounds:
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        half_x = np.hypot(self.a * cosine, self.b * sine)
        half_y = np.hypot(self.a * sine, self.b * cosine)
        return self.x - half_x, self.x + half_x, self.y - half_y, self.y + half_y

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the signed distance; exact in sign, to first order in size."""
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        across = ((x - self.x) * cosine + (y - self.y) * sine) / self.a
        along = ((y - self.y) * cosine - (x - self.x) * sine) / self.b
        level = np.hypot(across, along) + 1e-9
        return (level - 1) * level / (np.hypot(across / self.a, along / self.b) + 1e-9)


@dataclass
class Above:
    """Everything above a level, as gas is over fluid in a body that lies on its back."""

    level: float

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.broadcast_to(y - self.level, np.broadcast_shapes(x.shape, y.shape))


@dataclass
class Both:
    """The part of one shape that lies in another."""

    inner: Ellipse | Outline
    outer: Outline | Above

    def bounds(self) -> Bounds:
        return self.inner.bounds()

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.maximum(self.inner.distance(x, y), self.outer.distance(x, y))


def bean(x: float, y: float, a: float, b: float, turn: float, dent: float) -> Outline:
    """Return an ellipse with a dent on one long side, or a bulge where `dent` is negative."""
    angle_T = ANGLE_T - turn
    radius_T = a * b / np.hypot(b * np.cos(angle_T), a * np.sin(angle_T))
    return Outline(x, y, radius_T * (1 - dent * np.exp(3 * (np.sin(angle_T) - 1))))
