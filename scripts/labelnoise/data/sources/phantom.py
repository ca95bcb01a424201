"""A procedural CT-like abdomen in Hounsfield units, whose labels are exact by construction.

Every organ is a 3-D shape cut at a height z. In a slice it is a closed outline around a centre,
radius as a function of angle, or a chain of balls (the pancreas); a pixel is labelled when its
centre lies inside the target's outline, before partial volume, texture and noise are added.
Coordinates are relative: x to the right and y down run from -1 to 1 over the slice, and z
grows towards the feet, 1 unit = 200 mm. So a case shows the same anatomy at every size.

Shape legend: S slices, H height, W width, T steps of the angle, K balls, J waves.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from labelnoise.data.sources import Case, Settings
from labelnoise.data.sources.shapes import (
    ANGLE_T,
    COSINE_T,
    SINE_T,
    Above,
    Both,
    Chain,
    Ellipse,
    Grid,
    Outline,
    Shape,
    bean,
)

# Distance between slices, in units of 200 mm: 5 mm.
SPACING = 0.025
# Heights between which the liver is cut; below, only the tip of its right lobe is left.
LIVER_EXTENT = (-0.25, 0.23)
# The pancreas is taller than it is thick.
PANCREAS_STRETCH = 1.8
NOISE_HU = 14.0

AIR, FAT, MUSCLE, BONE = -1000.0, -100.0, 52.0, 190.0

# Outlines of the liver at three heights: (u, v) in units of the cavity's half axes, around a
# centre that sees every point. Drawn by hand from anatomy, not traced from any image.
# fmt: off
LIVER_KEYS = (
    (-0.30, (-0.40, -0.12), (
        (-0.95, 0.0), (-0.88, -0.42), (-0.66, -0.74), (-0.36, -0.90), (0.0, -0.92), (0.28, -0.86),
        (0.50, -0.66), (0.40, -0.50), (0.16, -0.36), (-0.02, -0.16), (-0.06, 0.06), (-0.22, 0.24),
        (-0.32, 0.50), (-0.50, 0.74), (-0.74, 0.62), (-0.90, 0.34),
    )),
    (0.0, (-0.46, -0.16), (
        (-0.95, 0.04), (-0.89, -0.38), (-0.68, -0.70), (-0.42, -0.86), (-0.12, -0.90),
        (0.12, -0.84), (0.30, -0.68), (0.20, -0.54), (0.0, -0.42), (-0.20, -0.24), (-0.26, -0.04),
        (-0.36, 0.16), (-0.46, 0.42), (-0.58, 0.62), (-0.76, 0.58), (-0.90, 0.36),
    )),
    (0.28, (-0.74, -0.10), (
        (-0.95, 0.02), (-0.92, -0.28), (-0.82, -0.50), (-0.66, -0.58), (-0.56, -0.44),
        (-0.55, -0.20), (-0.58, 0.02), (-0.62, 0.20), (-0.70, 0.34), (-0.82, 0.34), (-0.91, 0.22),
    )),
)
# fmt: on


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return the cases; case k depends on the seed and k alone, so more keep the earlier ones."""
    return [
        Case(f"phantom-{case:03d}", partial(_read, settings, seed, case))
        for case in range(settings["cases"])
    ]


def class_names(settings: Settings) -> list[str]:
    """Return "background" and the target."""
    return ["background", settings["target"]]


def describe(settings: Settings) -> dict:
    """Return the provenance: made here from a seed, so free of any data's licence."""
    return {
        "what": f"procedural CT-like abdomen with an exact {settings['target']} label, in HU",
        "version": 1,
        "licence": "made by this project; no data of others in it",
    }


def _read(settings, seed, case):
    return render_case(seed, case, settings["target"], settings["slices"], settings["size"])


def render_case(
    seed: int, case: int, target: str, slices: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw consecutive slices of one case.

    Args:
        seed: seed of the dataset.
        case: index of the case, from 0.
        target: "liver" (about 7 % of pixels) or "pancreas" (about 0.5 %).
        slices: how many; 5 mm apart, closer where the target is too short for that.
        size: pixels along each side, 32 to 512.

    Returns:
        images_SHW float32 in HU, labels_SHW uint8 (1 in the target), slice numbers (S,).
    """
    anatomy = Anatomy(np.random.default_rng([seed, case, 0]))
    images_SHW = np.empty((slices, size, size), np.float32)
    labels_SHW = np.empty((slices, size, size), np.uint8)
    for number, z in enumerate(anatomy.heights(target, slices)):
        rng = np.random.default_rng([seed, case, 1, number])
        images_SHW[number], labels_SHW[number] = render_slice(anatomy, target, z, size, rng)
    return images_SHW, labels_SHW, np.arange(slices)


def render_slice(
    anatomy: "Anatomy", target: str, z: float, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one slice: image_HW float32 in HU and labels_HW uint8."""
    grid = Grid(size)
    image_HW = anatomy.draw_trunk(grid)
    for shape, hu in anatomy.organs(target, z):
        grid.paint(image_HW, shape, hu)
    # Gas and the air around the body have no texture.
    image_HW += anatomy.texture(grid, z) * (image_HW > FAT - 30)
    noise_HW = gaussian_filter(rng.standard_normal((size, size)), 0.7, mode="wrap")
    image_HW += noise_HW * (anatomy.noise / noise_HW.std())
    labels_HW = grid.inside(anatomy.target(target, z))
    return np.maximum(image_HW, -1024).astype(np.float32), labels_HW


class Anatomy:
    """One body: every number of its shapes and tissues, drawn once from `rng`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._draw_body(rng)
        self._draw_tissues(rng)
        self._draw_organs(rng)
        self._draw_liver(rng)
        self._draw_pancreas(rng)
        self._draw_gut(rng)

    def _draw_body(self, rng):
        self.x, self.y = rng.uniform(-0.04, 0.04), rng.uniform(-0.10, 0.04)
        self.a_out = rng.uniform(0.68, 0.88)
        self.b_out = self.a_out * rng.uniform(0.66, 0.76)
        self.fat = rng.uniform(0.025, 0.075)
        self.wall = rng.uniform(0.028, 0.04)
        # Half axes of the abdominal cavity.
        self.a = self.a_out - self.fat - self.wall
        self.b = self.b_out - self.fat - self.wall
        self.waves = rng.normal(0, 0.012, 4), rng.uniform(-np.pi, np.pi, 4)
        self.start = rng.uniform(0, 1)
        self.table_y = rng.uniform(0.03, 0.07)

    def _draw_tissues(self, rng):
        self.liver_hu = rng.normal(61, 4)
        self.spleen_hu = rng.normal(51, 3)
        self.kidney_hu = rng.normal(42, 5)
        self.pancreas_hu = rng.normal(43, 3)
        self.blood_hu = rng.normal(45, 4)
        self.stomach_hu = rng.uniform(25, 48)
        self.noise = NOISE_HU * rng.uniform(0.75, 1.25)
        self.texture_waves = (
            rng.normal(0, 1, 24) * 2.2,
            rng.normal(0, 1, (24, 3)) * np.array([9.0, 9.0, 6.0]),
            rng.uniform(0, 2 * np.pi, 24),
        )

    def _draw_organs(self, rng):
        self.jitter = rng.uniform(-1, 1, (14, 4))
        self.ribs = rng.uniform(0, 1), rng.uniform(0.26, 0.32)
        self.gas = rng.uniform(-0.2, 0.7)
        self.vessels = rng.uniform(-1, 1, (14, 4))

    def _draw_liver(self, rng):
        self.liver_waves = (
            rng.normal(0, 1, 5) * np.array([0.05, 0.05, 0.04, 0.03, 0.02]),
            rng.uniform(-np.pi, np.pi, 5),
            rng.normal(0, 3, 5),
        )
        self.liver_size, self.liver_turn = rng.uniform(0.89, 1.08), rng.uniform(-0.14, 0.14)
        self.lesions = rng.uniform(0, 1, (3, 5))
        self.liver_shift = rng.uniform(-0.05, 0.05)

    def _draw_pancreas(self, rng):
        self.pancreas_shift = rng.uniform(-0.04, 0.04, 2)
        self.pancreas_knots = rng.uniform(-0.022, 0.022, (5, 3))
        self.pancreas_size = rng.uniform(0.88, 1.12)
        self.pancreas_lobes = rng.uniform(0, 2 * np.pi)

    def _draw_gut(self, rng):
        self.loops = rng.uniform(-1, 1, (18, 6))

    def heights(self, target: str, slices: int) -> np.ndarray:
        """Return z of each slice: evenly spaced from a start that belongs to the case."""
        low, high = LIVER_EXTENT if target == "liver" else self._pancreas_extent()
        spacing = min(SPACING, (high - low) / max(slices - 1, 1))
        start = low + self.start * (high - low - spacing * (slices - 1))
        return start + spacing * np.arange(slices)

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Return the place of cavity units: u = -1 is the right wall, v = -1 the front."""
        return self.x + self.a * u, self.y + self.b * v

    # Trunk: everything that is measured from the skin.

    def skin(self, inset: float = 0.0) -> Outline:
        """Return the body's outline, or a curve `inset` below it."""
        waves_T = sum(
            size * np.cos(order * ANGLE_T + phase)
            for order, size, phase in zip(range(2, 6), *self.waves, strict=True)
        )
        a, b = self.a_out - inset, self.b_out - inset
        # A power above 2 squares the ellipse off, as bodies on a table are.
        power = 2.35
        cosine_T, sine_T = np.abs(COSINE_T) / a, np.abs(SINE_T) / b
        radius_T = (cosine_T**power + sine_T**power) ** (-1 / power)
        # The back is flat, with a groove over the spine.
        back_T = np.exp(30 * (SINE_T - 1))
        return Outline(self.x, self.y, radius_T * (1 + waves_T) - 0.03 * back_T)

    def draw_trunk(self, grid: Grid) -> np.ndarray:
        """Draw air, table, skin, fat, muscle wall and the fat of the cavity: image_HW in HU."""
        x, y = grid.axis[None], grid.axis[:, None]
        image_HW = np.full((grid.size, grid.size), AIR)
        top = self.y + self.b_out + self.table_y - 0.22 * (x / 0.9) ** 2
        on_table = np.clip(0.5 - (np.abs(y - top) - 0.006) / grid.width, 0, 1) * (np.abs(x) < 0.8)
        image_HW += on_table * 950
        depth_HW = self.skin().distance(x, y)
        sides = 1 + 0.5 * np.abs(np.sin(2 * np.arctan2(y - self.y, x - self.x) + 0.4))
        wall_HW = depth_HW + self.fat * sides * 0.75
        layers = ((depth_HW, 15.0), (depth_HW + 0.009, FAT - 8), (wall_HW, MUSCLE))
        for distance_HW, hu in (*layers, (wall_HW + self.wall, FAT)):
            share_HW = np.clip(0.5 - distance_HW / grid.width, 0, 1)
            image_HW += share_HW * (hu - image_HW)
        return image_HW

    # Organs, in the order in which they are painted; jitter row numbers are theirs alone.

    def organs(self, target: str, z: float) -> Iterator[tuple[Shape, float]]:
        """Yield shapes with their values in HU; the target comes last, so that nothing hides it."""
        yield from self._ribs(z)
        yield from self._back(z)
        yield from self._gut(z)
        yield from self._mesentery(z)
        yield from self._stomach(z)
        yield from self._spleen(z)
        yield from self._kidneys(z)
        yield from self._vessels(z)
        if target == "liver":
            yield self.pancreas(z), self.pancreas_hu
            yield from self._gallbladder(z)
            yield from self._liver_parts(z)
        else:
            yield from self._liver_parts(z)
            yield from self._gallbladder(z)
            yield self.pancreas(z), self.pancreas_hu

    def _ribs(self, z):
        phase, step = self.ribs
        curve = self.skin(self.fat + 0.5 * self.wall + 0.004)
        for side in (-1, 1):
            for rib in range(-3, 4):
                # Ribs slope down to the front, so their cuts wander along the wall with z.
                angle = (rib + phase + 2.2 * z) * step * 1.5
                if not -1.05 < angle < 0.95:
                    continue
                turn = angle if side > 0 else np.pi - angle
                wrapped = (turn + np.pi) % (2 * np.pi) - np.pi
                radius = np.interp(wrapped, ANGLE_T, curve.radius_T)
                x, y = curve.x + radius * np.cos(turn), curve.y + radius * np.sin(turn)
                along = turn + np.pi / 2 - side * 0.25 * np.sin(2 * angle)
                yield Ellipse(x, y, 0.052, 0.019, along), 260.0
                yield Ellipse(x, y, 0.038, 0.008, along), 110.0

    def _back(self, z):
        x, y = self.x, self.y + 0.56 * self.b
        back = self.y + self.b_out - 0.03
        for side in (-1, 1):
            behind = 0.45 * y + 0.55 * back
            yield Ellipse(x + side * 0.135, behind, 0.135, 0.085, side * 0.2), MUSCLE
            yield Ellipse(x + side * 0.13, y + 0.01, 0.045 + 0.09 * max(z + 0.2, 0), 0.06), MUSCLE
            yield Ellipse(x + side * 0.085, y + 0.075, 0.075, 0.014, side * 0.45), 230.0
            yield Ellipse(x + side * 0.04, y + 0.105, 0.018, 0.05, side * 0.35), 260.0
        yield Ellipse(x, y + 0.165, 0.016, 0.06), 270.0
        yield bean(x, y, 0.108, 0.088, 0.0, 0.15), 330.0
        yield bean(x, y, 0.096, 0.076, 0.0, 0.15), BONE
        yield Ellipse(x, y + 0.095, 0.045, 0.036), 20.0

    def _gut(self, z):
        for u, v, depth, a, b, kind in self.loops:
            height = 0.16 + 0.22 * depth
            cut = 1 - ((z - height) / 0.17) ** 2
            if cut <= 0:
                continue
            x, y = self.at(*_inside(0.20 + 0.62 * u, -0.32 + 0.50 * v, 0.76))
            size = np.sqrt(cut) * (0.075 + 0.025 * a)
            turn = 3 * u + 4 * (z - height)
            yield Ellipse(x, y, size, size * (0.72 + 0.2 * b), turn), 44.0 + 4 * a
            yield Ellipse(x, y, size * 0.8, size * 0.55, turn), 32.0 + 12 * b
            if kind > 0.35:
                yield Ellipse(x, y - 0.25 * size, size * 0.5, size * 0.3, 0.1 * u), -700.0

    def _mesentery(self, z):
        for u, v, depth, size in self.vessels:
            x, y = self.at(0.1 + 0.55 * u + 0.3 * z * v, -0.25 + 0.45 * v + 0.3 * z * u)
            yield Ellipse(x, y, 0.011 + 0.005 * size, 0.009, 3 * depth), 38.0

    def _stomach(self, z):
        j = self.jitter[0]
        cut = 1 - ((z + 0.14) / 0.34) ** 2
        if cut <= 0:
            return
        x, y = self.at(0.42 + 0.05 * j[0] - 0.3 * z, -0.42 + 0.06 * j[1])
        a, b = np.sqrt(cut) * (0.235 + 0.035 * j[2]), np.sqrt(cut) * (0.165 + 0.025 * j[3])
        turn = 0.45 + 0.25 * j[1]
        yield bean(x, y, a, b, turn, -0.15), 46.0
        yield bean(x, y, a - 0.02, b - 0.02, turn, -0.15), self.stomach_hu
        level = self.gas * b
        if self.gas < 0.6:
            lumen = bean(x, y, a - 0.022, b - 0.022, turn, -0.15)
            yield Both(lumen, Above(y - level)), -900.0

    def _spleen(self, z):
        j = self.jitter[1]
        cut = 1 - ((z + 0.10 + 0.04 * j[0]) / (0.27 + 0.03 * j[1])) ** 2
        if cut <= 0:
            return
        x, y = self.at(0.74, 0.22 + 0.06 * j[2])
        size = np.sqrt(cut) * (1 + 0.12 * j[3])
        yield bean(x, y, 0.215 * size, 0.098 * size, 1.95, 0.28), self.spleen_hu

    def _kidneys(self, z):
        for side, row in ((-1, 2), (1, 3)):
            j = self.jitter[row]
            # The liver pushes the right kidney, on the image's left, further down.
            height = 0.13 if side < 0 else 0.08
            cut = 1 - ((z - height - 0.03 * j[0]) / 0.25) ** 2
            if cut <= 0:
                continue
            x, y = self.at(side * (0.50 + 0.03 * j[1]), 0.50 + 0.04 * j[2])
            size = np.sqrt(cut) * (1 + 0.1 * j[3])
            turn = side * 2.2
            yield bean(x, y, 0.118 * size, 0.088 * size, turn, 0.25), self.kidney_hu
            if cut > 0.55:
                inward = -side * 0.045 * size
                yield Ellipse(x + inward, y - 0.02, 0.055 * size, 0.03 * size, side * 0.5), -60.0
                yield Ellipse(x + inward, y - 0.02, 0.03 * size, 0.012, side * 0.5), 12.0

    def _vessels(self, z):
        j = self.jitter[4]
        spine = self.y + 0.56 * self.b
        yield Ellipse(self.x + 0.03, spine - 0.135, 0.046 + 0.005 * j[0], 0.046), self.blood_hu
        if j[1] > 0:
            yield Ellipse(self.x + 0.065, spine - 0.125, 0.01, 0.016), 420.0
        yield Ellipse(self.x - 0.115, spine - 0.12, 0.056, 0.044 + 0.008 * j[2]), self.blood_hu - 2
        for side in (-1, 1):
            yield Ellipse(self.x + side * 0.125, spine - 0.06, 0.012, 0.07, side * 0.25), MUSCLE - 4

    def _gallbladder(self, z):
        j = self.jitter[5]
        cut = 1 - ((z - 0.12) / 0.09) ** 2
        if cut > 0:
            x, y = self.at(-0.34 + 0.04 * j[0], -0.42 + 0.06 * j[1])
            size = np.sqrt(cut) * (0.075 + 0.015 * j[2])
            yield Ellipse(x, y, size * 1.3, size * 0.8, 0.9), 9.0

    def target(self, target: str, z: float) -> Outline | Chain:
        """Return the target's shape at height z, the one thing that decides its label."""
        return self.liver(z) if target == "liver" else self.pancreas(z)

    def liver(self, z: float) -> Outline:
        """Return the outline between the keys around z, with this case's waves, inside the wall."""
        z = z - self.liver_shift
        heights = [key[0] for key in LIVER_KEYS]
        weights = [np.interp(z, heights, row) for row in np.eye(len(heights))]
        keys = list(zip(weights, LIVER_KEYS, strict=True))
        centre = sum((weight * np.array(key[1]) for weight, key in keys), np.zeros(2))
        radius_T = sum(weight * _key_radius(key) for weight, key in keys)
        for order, (size, phase, drift) in enumerate(zip(*self.liver_waves, strict=True), start=2):
            radius_T = radius_T * (1 + size * np.cos(order * ANGLE_T + phase + drift * z))
        radius_T = np.interp(ANGLE_T - self.liver_turn, ANGLE_T, radius_T, period=2 * np.pi)
        radius_T = _cap(radius_T * self.liver_size, centre, 0.955)
        # From cavity units to the slice: another ray, another radius at each angle.
        x_T, y_T = self.a * radius_T * COSINE_T, self.b * radius_T * SINE_T
        angle_T = np.arctan2(y_T, x_T)
        angle_T[0], angle_T[-1] = -np.pi, np.pi
        radius_T = np.interp(ANGLE_T, angle_T, np.hypot(x_T, y_T))
        return Outline(*self.at(*centre), radius_T)

    def _liver_parts(self, z):
        shape = self.liver(z)
        yield shape, self.liver_hu
        x_T, y_T = shape.points()
        for row in range(6, 14):
            j = self.jitter[row]
            # On the way from the centre to the outline, so it moves with the liver from z to z.
            step, reach = int(360 + 330 * j[0] + 200 * z * j[1]) % 720, 0.28 + 0.30 * abs(j[2])
            x, y = shape.x + reach * (x_T[step] - shape.x), shape.y + reach * (y_T[step] - shape.y)
            size = 0.012 + 0.007 * abs(j[3])
            vessel = Ellipse(x, y, size * (2 + j[1]), size, ANGLE_T[step])
            yield Both(vessel, shape), self.blood_hu
        yield from self._lesions(shape, z)

    def _lesions(self, shape, z):
        """Yield darker spots, in about one liver out of three; the label counts them as liver."""
        for there, where, reach, height, size in self.lesions:
            cut = 1 - ((z - 0.4 * (height - 0.5)) / (0.04 + 0.06 * size)) ** 2
            if there < 0.15 and cut > 0:
                step = int(720 * where)
                x, y = shape.points()[0][step], shape.points()[1][step]
                x, y = shape.x + 0.5 * reach * (x - shape.x), shape.y + 0.5 * reach * (y - shape.y)
                radius = np.sqrt(cut) * (0.03 + 0.05 * size)
                spot = Ellipse(x, y, radius, 0.85 * radius, 6 * where)
                yield Both(spot, shape), self.liver_hu - 24.0

    def pancreas(self, z: float) -> Chain:
        """Return the balls of the pancreas, cut at height z."""
        x_K, y_K, z_K, radius_K = self._pancreas_balls()
        cut_K = radius_K**2 - ((z - z_K) / PANCREAS_STRETCH) ** 2
        keep_K = cut_K > 1e-5
        return Chain(x_K[keep_K], y_K[keep_K], np.sqrt(cut_K[keep_K]))

    def _pancreas_balls(self):
        """Return balls along a curve from the head (image's left) over the spine to the tail."""
        knots_x = np.array([-0.20, -0.13, 0.02, 0.19, 0.34])
        knots_y = np.array([0.10, -0.02, -0.06, -0.01, 0.05])
        knots_z = np.array([0.085, 0.045, 0.0, -0.025, -0.045])
        knots = np.stack([knots_x, knots_y, knots_z], 1) + self.pancreas_knots
        along_K = np.linspace(0, 1, 64)
        x_K, y_K, z_K = (_smooth(column, along_K) for column in knots.T)
        radius_K = np.interp(along_K, [0, 0.15, 0.45, 0.85, 1], [0.038, 0.041, 0.03, 0.034, 0.023])
        lobes_K = 1 + 0.08 * np.sin(34 * along_K + self.pancreas_lobes)
        x, y = self.at(0.02 + self.pancreas_shift[0], 0.02 + self.pancreas_shift[1])
        return x + x_K, y - 0.04 + y_K, z_K, radius_K * lobes_K * self.pancreas_size

    def _pancreas_extent(self):
        """Return the heights between which the gland is more than a sliver."""
        _, _, z_K, radius_K = self._pancreas_balls()
        half_K = 0.5 * PANCREAS_STRETCH * radius_K
        return (z_K - half_K).min(), (z_K + half_K).max()

    def texture(self, grid: Grid, z: float) -> np.ndarray:
        """Return a slow variation of the tissues, a few HU, as a sum of plane waves."""
        size_J, wave_J3, phase_J = self.texture_waves
        across_JW = np.exp(1j * wave_J3[:, :1] * grid.axis)
        down_JH = np.exp(
            1j * (wave_J3[:, 1:2] * grid.axis + (wave_J3[:, 2] * z + phase_J)[:, None])
        )
        return np.einsum("j,jh,jw->hw", size_J, down_JH, across_JW).real / 2


def _key_radius(key):
    """Return the radius of a key's outline at every angle: straight lines, then rounded."""
    _, centre, points = key
    offsets = np.array(points) - centre
    angles = np.arctan2(offsets[:, 1], offsets[:, 0])
    order = np.argsort(angles)
    radius_T = np.interp(ANGLE_T, angles[order], np.hypot(*offsets.T)[order], period=2 * np.pi)
    radius_T[:-1] = gaussian_filter1d(radius_T[:-1], 8, mode="wrap")
    radius_T[-1] = radius_T[0]
    return radius_T


def _cap(radius_T, centre, limit):
    """Keep an outline within `limit` of the cavity, the unit circle, by a smooth minimum."""
    toward_T = centre[0] * COSINE_T + centre[1] * SINE_T
    reach_T = -toward_T + np.sqrt(toward_T**2 + limit**2 - centre @ centre)
    return (radius_T**-12 + reach_T**-12) ** (-1 / 12)


def _inside(u, v, limit):
    """Pull a place in cavity units towards the middle until it is within `limit` of it."""
    scale = min(1.0, limit / np.hypot(u, v))
    return u * scale, v * scale


def _smooth(knots, along_K):
    """Return a smooth curve near the knots."""
    fine = np.interp(along_K, np.linspace(0, 1, len(knots)), knots)
    return gaussian_filter1d(fine, 5, mode="nearest")
