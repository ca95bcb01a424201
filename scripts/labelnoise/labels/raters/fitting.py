"""Finding the settings of the kind `rater` whose raters differ as people do.

The statistics of simulated raters are brought to those of people by a Levenberg-Marquardt search
with the same random numbers at every step (the method of simulated moments: McFadden, "A method of
simulated moments for estimation of discrete response models without numerical integration", 1989).

Shape legend: O objects, K statistics, Q parameters, B bootstrap samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labelnoise.labels.rater import RADIUS
from labelnoise.labels.raters.simulation import Subject, hand_of, simulate
from labelnoise.labels.raters.statistics import STATISTICS, Differences, summarise

SETTINGS = (
    "severity",
    "bias_share",
    "mean",
    "length",
    "length_z",
    "gamma",
    "smoothness",
    "across",
    "spread",
)
SAMPLES = 1000  # of the bootstrap
INTERVAL = (2.5, 97.5)  # percentiles
# Simulated raters of an object, and of all together as far as that allows.
LEAST_RATERS, MOST_RATERS, RATERS = 3, 12, 150
STEPS = 18  # of the search, at most
STEP = 0.1  # of a parameter, for derivatives
FURTHEST = 0.7  # that a parameter moves in a step
SETTLED = 0.02  # share of the misfit under which a step gains nothing
NEAR = 0.5  # misfit, in what is asked, after which the first step without gain is the last

# How near statistics are to be is their standard error from so many objects, within limits: from a
# sixth to half of a goal, or these where there is no goal.
NEAREST = {
    "whole_offset": 0.05,
    "ends": 0.02,
    "size": 0.02,
    "drift": 0.01,
    "log_mm": 0.1,
    "log_slope": 0.1,
}

# What is known of each parameter before: mean and standard deviation, as far as the objects do not
# tell. Severity and length have none; the middle of the other ones is that of published data.
PRIORS = {
    "bias_share": (-0.9, 1.5),  # logit
    "mean": (0.0, 0.5),
    "length_z": (0.7, 1.0),  # logarithm
    "gamma": (0.4, 0.3),
    "smoothness": (0.4, 0.8),  # logit of its half
    "across": (0.3, 0.6),  # logarithm
    "spread": (-1.6, 0.6),  # logarithm
}


class Parameters:
    """The settings of `rater` as numbers without limits, in which the search moves.

    Severity and lengths are taken at the objects' own mean radius, where gamma plays no part.
    """

    def __init__(self, subjects: Sequence[Subject]):
        self._log_radius = np.mean([np.log(each.real.radius / RADIUS) for each in subjects])

    def settings(self, point_Q: np.ndarray) -> dict[str, float]:
        """Return the settings at a point."""
        at = dict(zip(SETTINGS, point_Q.tolist(), strict=True))
        log_size = at["gamma"] * self._log_radius
        return {
            "severity": np.exp(at["severity"] - log_size),
            "bias_share": _expit(at["bias_share"]),
            "mean": at["mean"],
            "length": np.exp(at["length"] - log_size),
            "length_z": np.exp(at["length_z"] - log_size),
            "gamma": at["gamma"],
            "smoothness": 2 * _expit(at["smoothness"]),
            "across": np.exp(at["across"]),
            "spread": np.exp(at["spread"]),
        }

    def first(self, subjects: Sequence[Subject]) -> np.ndarray:
        """Return where the search begins, from the statistics themselves."""
        real = dict(zip(STATISTICS, summarise([each.real for each in subjects]), strict=True))
        radius = RADIUS * np.exp(self._log_radius)
        point = {name: mean for name, (mean, _) in PRIORS.items()}
        # The difference of two raters has twice the variance of one.
        point["severity"] = np.nan_to_num(real["log_mm"], nan=np.log(radius / 10)) - np.log(2) / 2
        point["length"] = np.log(radius * np.deg2rad(22.5))
        return np.array([point[name] for name in SETTINGS])


@dataclass(frozen=True)
class Fit:
    """What was found.

    Attributes:
        settings: severity and settings of the kind `rater`.
        intervals: {name: (low, high)} of each, 95 %, by a bootstrap over objects.
        misfit: root mean square of the statistics' deviations, in units of what was asked.
        evaluations: sets of raters that were simulated.
    """

    settings: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    misfit: float
    evaluations: int


def raters_of(subjects: Sequence[Subject]) -> int:
    """Return how many raters of each object make its statistics steady enough."""
    people = max(each.people for each in subjects)
    wanted = np.clip(np.ceil(RATERS / len(subjects)), LEAST_RATERS, MOST_RATERS)
    return int(people * max(1, np.round(wanted / people)))


def fit(
    subjects: Sequence[Subject], seed: int, report: Callable[[str], None] = lambda line: None
) -> Fit:
    """Find the settings of `rater` whose raters of the same objects differ as people do.

    Args:
        subjects: objects that two people or more outlined.
        seed: of the simulated raters and the bootstrap.
        report: told after each step.
    """
    search = _Search(subjects, seed)
    point_Q, jacobian_KQ, simulated = search.run(report)
    samples_BQ = _bootstrap(search, point_Q, jacobian_KQ, simulated, seed)
    settings_B = [search.parameters.settings(sample_Q) for sample_Q in samples_BQ]
    intervals = {}
    for name in SETTINGS:
        low, high = np.percentile([each[name] for each in settings_B], INTERVAL)
        intervals[name] = (float(low), float(high))
    settings = {key: float(x) for key, x in search.parameters.settings(point_Q).items()}
    misfit = np.sqrt(np.mean(search.deviations(summarise(simulated)) ** 2))
    return Fit(settings, intervals, float(misfit), search.evaluations)


class _Search:
    """Deviations of simulated from real statistics, and from what is known before."""

    def __init__(self, subjects, seed):
        self.subjects, self.seed = subjects, seed
        self.parameters = Parameters(subjects)
        self.evaluations = 0
        self.real = [each.real for each in subjects]
        self.real_K = summarise(self.real)
        rng = np.random.default_rng([seed, 1])
        error_K = np.nanstd(resampled(self.real, rng, 200), axis=0)
        nearest_K, furthest_K = np.array(
            [
                (each.goal / 6, each.goal / 2) if each.goal else (NEAREST[name], np.inf)
                for name, each in STATISTICS.items()
            ]
        ).T
        self.unit_K = np.clip(np.nan_to_num(error_K), nearest_K, furthest_K)
        self.told_K = np.isfinite(self.real_K)
        known = [PRIORS.get(name, (0.0, np.inf)) for name in SETTINGS]
        self.prior_Q, self.width_Q = np.array(known).T

    def simulate(self, point_Q):
        """Return how simulated raters differ, object by object."""
        self.evaluations += 1
        hand = hand_of(self.parameters.settings(point_Q))
        return simulate(self.subjects, hand, raters_of(self.subjects), self.seed)

    def deviations(self, statistics_K):
        """Return how far statistics are from those of people, in units of what is asked."""
        told_K = self.told_K & np.isfinite(statistics_K)
        return np.where(told_K, (statistics_K - self.real_K) / self.unit_K, 0.0)

    def residuals(self, statistics_K, point_Q):
        prior_Q = (point_Q - self.prior_Q) / self.width_Q
        return np.concatenate([self.deviations(statistics_K), prior_Q])

    def run(self, report):
        """Return the best point, the derivatives of its deviations, and its simulated raters."""
        point_Q = self.parameters.first(self.subjects)
        simulated = self.simulate(point_Q)
        residual = self.residuals(summarise(simulated), point_Q)
        jacobian = self._jacobian(point_Q, residual)
        damping, without_gain, age = 0.1, 0, 0
        for step in range(1, STEPS + 1):
            normal = jacobian.T @ jacobian
            damped = normal + damping * np.diag(np.diag(normal))
            move_Q = np.linalg.solve(damped, -jacobian.T @ residual)
            move_Q *= min(1.0, FURTHEST / np.abs(move_Q).max())
            tried_Q = point_Q + move_Q
            tried = self.simulate(tried_Q)
            tried_residual = self.residuals(summarise(tried), tried_Q)
            # Broyden's update: what this step showed of the derivatives.
            surprise = tried_residual - residual - jacobian @ move_Q
            jacobian = jacobian + np.outer(surprise, move_Q) / (move_Q @ move_Q)
            age += 1
            gain = 1 - (tried_residual @ tried_residual) / (residual @ residual)
            if gain > 0:
                point_Q, residual, simulated = tried_Q, tried_residual, tried
                damping /= 4
            else:
                damping *= 6
            misfit = np.sqrt(np.mean(residual**2))
            report(f"step {step}: misfit {misfit:.2f}")
            without_gain = 0 if gain > SETTLED else without_gain + 1
            if without_gain and misfit < NEAR:
                break
            if without_gain == 2:
                if age <= 2:  # the derivatives are those of this point
                    break
                jacobian = self._jacobian(point_Q, residual)
                damping, without_gain, age = 0.1, 0, 0
        return point_Q, jacobian, simulated

    def _jacobian(self, point_Q, residual):
        columns = []
        for number in range(len(point_Q)):
            moved_Q = point_Q.copy()
            moved_Q[number] += STEP
            moved = self.residuals(summarise(self.simulate(moved_Q)), moved_Q)
            columns.append((moved - residual) / STEP)
        return np.stack(columns, axis=1)


def _bootstrap(search, point_Q, jacobian, simulated, seed):
    """Return the point of every sample of objects, by one step from that of all objects, (B, Q)."""
    rng = np.random.default_rng([seed, 2])
    chosen_BO = rng.integers(len(simulated), size=(SAMPLES, len(simulated)))
    gap_BK = _summaries(simulated, chosen_BO) - _summaries(search.real, chosen_BO)
    deviations_BK = np.where(search.told_K & np.isfinite(gap_BK), gap_BK / search.unit_K, 0.0)
    at_point = search.deviations(summarise(simulated))
    change_BK = deviations_BK - at_point
    statistics_KQ = jacobian[: len(STATISTICS)]
    step_QK = np.linalg.solve(jacobian.T @ jacobian, statistics_KQ.T)
    return point_Q - change_BK @ step_QK.T


def resampled(objects: Sequence[Differences], rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return the statistics of objects drawn with replacement, (B, K)."""
    return _summaries(objects, rng.integers(len(objects), size=(samples, len(objects))))


def _summaries(objects, chosen_BO):
    return np.array([summarise([objects[each] for each in chosen_O]) for chosen_O in chosen_BO])


def _expit(value):
    return 1 / (1 + np.exp(-value))
