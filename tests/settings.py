"""Settings as they reach the code: checked, and completed by the schema."""

from labelnoise.config import complete

CONFIG = {
    "seed": 0,
    "datasets": {"x": {"source": "phantom"}},
    "models": {"x": {"network": "unet"}},
    "recipes": {"x": {"loss": "dice"}},
    "perturbations": {"x": {"kind": "control"}},
    "matrix": {
        "dataset": ["x"],
        "model": ["x"],
        "recipe": ["x"],
        "perturbation": ["x"],
        "repeats": 1,
    },
}


def dataset_settings(**given):
    """Complete the settings of one dataset."""
    return complete(CONFIG | {"datasets": {"x": given}})["datasets"]["x"]


def model_settings(**given):
    """Complete the settings of one model."""
    return complete(CONFIG | {"models": {"x": given}})["models"]["x"]
