"""Source intensities (HU for CT) as they are stored and as networks see them.

`Intensity` says how the values of a channel are made alike, and `Scale` what that came to for one
case or for all. A later image of the same kind is prepared exactly alike by

    for intensity, images_SHW in zip(dataset.intensities.values(), channels):
        scale = intensity.fit(images_SHW)
        stored_SHW = scale.apply(images_SHW)

window      clipped to [low, high] in source units, which become -1 and 1
percentile  the same, with the values at two percentiles for low and high
zscore      minus the mean, over the standard deviation; 5 deviations become 1, beyond is clipped.
            With percentiles, values are clipped to these first
none        as they are

Like nnU-Net (Isensee et al., Nature Methods 18 (2021) 203-211, Supplementary Note 2): for CT
`{method: zscore, by: dataset, over: foreground, percentiles: [0.5, 99.5]}`, for other modalities
`{method: zscore, by: case}`, with `over: nonzero` where images are masked. Its z-scores are not
divided by 5; networks begin with a convolution, so that changes nothing but the range.

Shape legend: S slices, K channels, H height, W width in pixels, n values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from labelnoise.errors import InputError

# Standard deviations that become 1.
SPAN = 5.0
# What float16 holds.
LARGEST = 65504
# Values from which the statistics of a whole dataset are taken, shared equally by its training
# cases. Percentiles of so many are off by less than a hundredth of a percent.
SAMPLES = 10_000_000


@dataclass(frozen=True)
class Scale:
    """How the values of one case, or of all, become stored ones.

    Attributes:
        low, high: in source units, where values are clipped; None where they are not.
        mean, sd: what becomes 0, and a fifth of what becomes 1; None where `low` and `high` become
            -1 and 1 instead, or nothing changes.
    """

    low: float | None = None
    high: float | None = None
    mean: float | None = None
    sd: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The values of the source beyond which all are stored alike, perhaps infinite."""
        if self.mean is None or self.sd is None:
            return _or(self.low, -np.inf), _or(self.high, np.inf)
        reach = SPAN * self.sd
        low, high = _or(self.low, -np.inf), _or(self.high, np.inf)
        return max(low, self.mean - reach), min(high, self.mean + reach)

    def apply(self, values: ArrayLike) -> np.ndarray:
        """Return values in source units, of any shape and number type, as stored: float32."""
        zero, factor, shift = self._line()
        # In place after the first step: a whole scan at 512 x 512 is half a gigabyte.
        scaled = np.subtract(values, zero, dtype=np.float32)
        scaled *= factor
        scaled += shift
        low, high = ((end - zero) * factor + shift for end in self.ends)
        return np.clip(scaled, low, high, out=scaled)

    def restore(self, stored: np.ndarray) -> np.ndarray:
        """Return stored values in source units, as far as they were not clipped: float32."""
        zero, factor, shift = self._line()
        return ((np.asarray(stored, np.float32) - shift) / factor + zero).astype(np.float32)

    def padding(self, images_SHW: np.ndarray) -> float:
        """Return what is stored beyond the slices of a case: its darkest value.

        That is the lower end where values are clipped to one, else the case's own minimum.
        """
        lowest = images_SHW.min() if self.low is None else self.low
        return float(self.apply([lowest])[0])

    def _line(self):
        """Return zero, factor and shift of stored = (value - zero) * factor + shift."""
        if self.mean is not None and self.sd is not None:
            return self.mean, 1 / (SPAN * self.sd), 0.0
        if self.low is not None and self.high is not None:
            return self.low, 2 / (self.high - self.low), -1.0
        return 0.0, 1.0, 0.0


@dataclass(frozen=True)
class Intensity:
    """How the values of one channel of a dataset are made alike.

    Attributes:
        method: window, percentile, zscore or none.
        by: "dataset" for one scale, "case" for one each.
        over: the values that count: "all", "nonzero" or "foreground" (of any structure).
        percentiles: (low, high) in percent, or None.
        scale: that of the whole dataset; None where each case has its own, or before `fit_dataset`.
    """

    method: str
    by: str = "dataset"
    over: str = "all"
    percentiles: tuple[float, float] | None = None
    scale: Scale | None = None

    @classmethod
    def of_window(cls, low: float, high: float) -> Self:
        """Return the intensity of one fixed window, in source units."""
        return cls("window", scale=Scale(float(low), float(high)))

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return what the settings of a channel ask for, see `config.channels`."""
        chosen = settings.get("normalise", {"method": "window"})
        if chosen["method"] == "window":
            return cls.of_window(*settings["window"])
        if chosen["method"] == "none":
            return cls("none", scale=Scale())
        percentiles = chosen["percentiles"]
        return cls(
            chosen["method"],
            chosen["by"],
            chosen["over"],
            None if percentiles is None else (percentiles[0], percentiles[1]),
        )

    @classmethod
    def of_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return what `as_dict` wrote."""
        scale, percentiles = content["scale"], content["percentiles"]
        return cls(
            content["method"],
            content["by"],
            content["over"],
            None if percentiles is None else (percentiles[0], percentiles[1]),
            None if scale is None else Scale(**scale),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in types that JSON has."""
        percentiles = None if self.percentiles is None else list(self.percentiles)
        return {**asdict(self), "percentiles": percentiles}

    def fit(self, images_SHW: np.ndarray) -> Scale:
        """Return the scale of one case: the dataset's, or that of its own values.

        Args:
            images_SHW: all slices of the case, in source units.

        Raises:
            InputError: its values are all alike.
        """
        if self.scale is not None:
            return self.scale
        if self.by != "case":
            raise ValueError("the scale of a whole dataset comes from `fit_dataset`")
        return self._fit(images_SHW[_counts(images_SHW, self.over)])

    def fit_dataset(self, samples_n: np.ndarray) -> Self:
        """Return the same with the scale of values that training cases gave, see `sample`.

        Raises:
            InputError: there are none, or they are all alike.
        """
        return replace(self, scale=self._fit(samples_n.copy()))

    def _fit(self, values_n):
        """Return the scale of values, whose order is lost."""
        low = high = mean = sd = None
        if len(values_n) == 0:
            raise InputError(
                f"no value counts under `normalise: {{over: {self.over}}}`; choose another `over`."
            )
        if self.method == "zscore":
            mean, sd = _mean_sd(values_n)
        if self.percentiles is not None:
            ends = np.percentile(values_n, self.percentiles, overwrite_input=True)
            low, high = (float(end) for end in ends)
        if sd == 0 or (low is not None and low == high):
            raise InputError(
                f"the values that `normalise: {self.method}` counts are nearly all "
                f"{low if mean is None else mean:g}, so they show nothing; choose wider "
                "`percentiles`, another `over`, or a `window`."
            )
        return Scale(low, high, mean, sd)


def scale_channels(intensities: Mapping[str, Intensity], images_SKHW: np.ndarray) -> np.ndarray:
    """Return the slices of one case as stored, float32 (S, K, H, W), each channel by its own scale.

    Args:
        intensities: {channel: intensity}, as many as there are channels.
        images_SKHW: all slices of the case, in source units.

    Raises:
        InputError: the values of a channel are all alike, see `Intensity.fit`.
    """
    scaled = [
        intensity.fit(images_SHW).apply(images_SHW)
        for intensity, images_SHW in zip(
            intensities.values(), np.moveaxis(images_SKHW, 1, 0), strict=True
        )
    ]
    return np.stack(scaled, axis=1)


def intensities_content(intensities: Mapping[str, Intensity]) -> Any:
    """Return the intensities without their names in types that JSON has: of one, or a list."""
    contents = [intensity.as_dict() for intensity in intensities.values()]
    return contents[0] if len(contents) == 1 else contents


def read_intensities(channels: Sequence[str], content: Any) -> dict[str, Intensity]:
    """Return the {channel: intensity} of which `intensities_content` made the content."""
    contents = content if isinstance(content, list) else [content]
    named = zip(channels, contents, strict=True)
    return {channel: Intensity.of_dict(each) for channel, each in named}


def sample(
    images_SHW: np.ndarray,
    labels_SHW: np.ndarray,
    over: str,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return values of one case for the statistics of its dataset, float32.

    Args:
        labels_SHW: class indices; above 0 is foreground.
        over: the values that count, see `Intensity`.
        count: all values where no more than these count, else so many, drawn with replacement.
        rng: the source of the draw.
    """
    counts = labels_SHW > 0 if over == "foreground" else _counts(images_SHW, over)
    values = images_SHW[counts]
    if len(values) > count:
        values = values[rng.integers(len(values), size=count)]
    return values.astype(np.float32)


def _counts(values, over):
    """Return which values count: finite ones, without zeros where `over` says so."""
    finite = np.isfinite(values)
    return finite & (values != 0) if over == "nonzero" else finite


def _mean_sd(values_n):
    """Return mean and standard deviation, of doubles, of which a whole scan would be a gigabyte."""
    parts = [values_n[start : start + 2**20] for start in range(0, len(values_n), 2**20)]
    mean = sum(float(part.sum(dtype=np.float64)) for part in parts) / len(values_n)
    squares = sum(float(((part - np.float64(mean)) ** 2).sum()) for part in parts)
    return mean, (squares / len(values_n)) ** 0.5


def _or(value, other):
    return other if value is None else value
