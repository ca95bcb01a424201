"""Learning-rate schedules: those of torch, one rate for each epoch."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

from labelnoise.study import Recipe


def make_schedule(optimiser: Optimizer, recipe: Recipe) -> LRScheduler | None:
    """Return the schedule that a recipe asks for, to be stepped after each epoch; None for none.

    The rate changes from epoch to epoch, as in nnU-Net and timm, not from step to step, so that
    history.csv has it whole. Of E epochs, counted from 0, the first W are the warmup: epoch e < W
    has (e + 1) / (W + 1) of the recipe's learning rate. After it, with t = (e - W) / (E - W):

    poly    (1 - t) ** power, as nnU-Net's PolyLRScheduler (Isensee et al. 2021, "nnU-Net")
    cosine  lowest + (1 - lowest) (1 + cos(pi t)) / 2 (Loshchilov and Hutter 2017, "SGDR", without
            restarts)
    step    factor ** k after k times `every` epochs

    Args:
        optimiser: the optimiser; its learning rate becomes that of the first epoch.
        recipe: says which schedule, and over how many epochs.
    """
    if recipe.schedule is None:
        return None
    settings = dict(recipe.schedule)
    kind, warmup = settings["kind"], settings["warmup"]
    epochs = recipe.epochs - warmup
    main: LRScheduler
    if kind == "poly":
        main = PolynomialLR(optimiser, epochs, settings["power"])
    elif kind == "cosine":
        main = CosineAnnealingLR(optimiser, epochs, settings["lowest"] * recipe.learning_rate)
    else:
        main = StepLR(optimiser, settings["every"], settings["factor"])
    if not warmup:
        return main
    rise = LinearLR(optimiser, 1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimiser, [rise, main], [warmup])
