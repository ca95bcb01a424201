"""What errors in training labels cost a segmentation network: perturb, train, measure."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelnoise.evaluation.predict import predict_file
    from labelnoise.labels.generator import perturb
    from labelnoise.training.checkpoints import load_run

__all__ = ["load_run", "perturb", "predict_file"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # Imported on demand, since some import torch, which tables, status and `perturb` do without.
    if name == "load_run":
        from labelnoise.training.checkpoints import load_run

        return load_run
    if name == "predict_file":
        from labelnoise.evaluation.predict import predict_file

        return predict_file
    if name == "perturb":
        from labelnoise.labels.generator import perturb

        return perturb
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
