"""What errors in training labels cost a segmentation network: perturb, train, measure."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelnoise.evaluation.predict import predict_file
    from labelnoise.training.checkpoints import load_run

__all__ = ["load_run", "predict_file"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    # Imported on demand, since they import torch, which tables and status do without.
    if name == "load_run":
        from labelnoise.training.checkpoints import load_run

        return load_run
    if name == "predict_file":
        from labelnoise.evaluation.predict import predict_file

        return predict_file
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
