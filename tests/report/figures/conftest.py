"""The studies, and the dataset, that the figures' tests draw."""

from functools import cache

import numpy as np
import pytest

from labelnoise.data.storage import Dataset, write_dataset
from labelnoise.evaluation.tables import degradation_table
from labelnoise.report.figures.degradation import draw_degradation
from labelnoise.report.paper import slopes_beside_paper
from synthetic_runs import matrix, tables_of, write_tree

SMALL = {"recipes": ("labels18", "plain"), "kinds": ("natural", "choppy", "random")}
STUDIES = {
    "one run": {"repeats": 1},
    "control only": {"kinds": ()},
    "small": {**SMALL, "sizes": (0.95, 0.85), "repeats": 2},
    "full": {
        **SMALL,
        "datasets": ("psd", "lis"),
        "models": ("unet", "segnet", "fcn32"),
        "sizes": (0.95, 0.90, 0.85),
        "repeats": 2,
    },
    "unknown names": {
        "datasets": ("my data",),
        "models": ("unet", "smp.Unet", "smp.Linknet"),
        "recipes": ("labels18", "focal", "dice"),
        "kinds": ("natural", "dilated"),
        "sizes": (0.98, 0.8),
        "repeats": 2,
    },
}


@pytest.fixture(scope="session")
def study_of(tmp_path_factory):
    """Function that makes the runs table of a study, and its values per case, once."""

    @cache
    def make(name):
        folder, listed = tmp_path_factory.mktemp("results"), matrix(**STUDIES[name])
        structures = ("left kidney", "tumour") if name == "unknown names" else ("liver",)
        write_tree(folder, listed, structures=structures)
        return tables_of(listed, folder)

    return make


@pytest.fixture(scope="session")
def load(study_of):
    """Function that gives the runs table of a study."""
    return lambda name: study_of(name)[0]


@pytest.fixture(scope="session")
def cells(study_of):
    """Function that gives the degradation table of a study."""
    return lambda name: degradation_table(*study_of(name))


@pytest.fixture(scope="session")
def slopes(study_of):
    """Function that gives the table of slopes of a study."""
    return lambda name: slopes_beside_paper(*study_of(name))


@pytest.fixture(params=STUDIES)
def study(request):
    """The name of each study."""
    return request.param


@pytest.fixture
def runs(study, load):
    """The runs table of each study."""
    return load(study)


@pytest.fixture
def full(load):
    """The runs table of three networks, two recipes and two datasets."""
    return load("full")


@pytest.fixture(scope="session")
def full_figure(load, cells):
    """The degradation figure of that study, to look at."""
    return draw_degradation(cells("full"), load("full"))


@pytest.fixture
def data(tmp_path):
    """Seven cases of two slices: liver is 20 x 20, the tumour beside it grows with the slice."""
    path = tmp_path / "two.h5"
    settings = {"name": "two", "window": (0, 1), "provenance": {}}
    with write_dataset(path, class_names=["background", "liver", "tumour"], **settings) as writer:
        for case in range(7):
            labels = np.zeros((2, 48, 48), np.uint8)
            labels[:, 4:24, 4:24] = 1
            labels[0, 30:38, 30:38] = labels[1, 30:40, 30:40] = 2
            # No test slice of the first test case shows the tumour.
            if case == 4:
                labels[labels == 2] = 0
            split = "train" if case < 4 else "test" if case < 6 else "validation"
            images = np.random.default_rng(case).uniform(-1, 1, labels.shape)
            writer.append(f"case{case}", split, range(2), images, labels)
    with Dataset(path) as data:
        yield data
