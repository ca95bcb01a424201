"""Running out of memory: what to say, and batches in parts that make one step.

Shape legend: N slices, K channels, C classes, H height, W width.
"""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from labelnoise.jobs.devices import GIB, Device
from labelnoise.study import Recipe


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out, as torch or its libraries report it."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("ALLOC_FAILED" in said or "can't allocate memory" in said)
    )


def training_sentence(error: Exception, recipe: Recipe, name: str, device: Device) -> str:
    """Return one sentence: a training ran out of memory, and what helps.

    A batch is never divided unasked: with batch norm that is another experiment.

    Args:
        error: what torch raised.
        recipe, name: the recipe and its name in the config.
        device: where the training ran.
    """
    batch = recipe.batch_size
    mends = [
        f"set accumulation: {parts} in recipe '{name}'"
        for parts in range(recipe.accumulation + 1, batch + 1)
        if batch % parts == 0
    ][:1]
    if device.slots > 1:
        mends.append(f"lower runs_per_gpu ({device.slots})")
    if batch > 1:
        mends.append(f"lower the batch_size ({batch})")
    mends += ["lower the dataset's size", "choose a smaller network"]
    if recipe.precision == "32":
        mends.append("set precision: bf16")
    what = describe(error, batch // recipe.accumulation, device)
    return f"{what}; {', '.join(mends)}, or use a GPU with more memory."


def describe(error: Exception, slices: int, device: Device) -> str:
    """Return how much memory was wanted and how much was in use."""
    # The rest of torch's message is about its settings.
    wanted = ". ".join(str(error).split(". ")[:2]).strip().rstrip(".")
    at_once = f"{slices} slices" if slices > 1 else "one slice"
    return f"out of memory with {at_once} at a time on {device.label}: {wanted}{_in_use(device)}"


def _in_use(device: Device) -> str:
    if device.kind != "cuda":
        return ""
    peak = torch.cuda.max_memory_reserved() / GIB
    part = f"1/{device.slots} of " if device.slots > 1 else ""
    total = device.card.memory / GIB if device.card else 0
    return f" ({peak:.1f} GiB were in use, of {part}{total:.1f} GiB)"


def release(device: Device) -> None:
    """Free the memory of a failed attempt, once nothing refers to its tensors."""
    gc.collect()
    if device.kind == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def forward(network: torch.nn.Module, images_NKHW: torch.Tensor, parts: int) -> torch.Tensor:
    """Return the logits (N, C, H, W) of a batch taken in parts; no slice depends on another."""
    return torch.cat([network(part) for part in images_NKHW.chunk(parts)])


def backward_in_parts(
    network: torch.nn.Module,
    compute_loss: Callable[[torch.Tensor], torch.Tensor],
    images_NKHW: torch.Tensor,
    parts: int,
    precision: Callable[[], AbstractContextManager],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add up the gradient of the whole batch's loss from parts of the batch.

    A first pass without gradients gives the logits of all parts, from which the loss and its
    gradient by the logits follow for the batch as a whole, whatever the loss is; a second pass
    carries that gradient back part by part (Gao et al. 2021, "Scaling Deep Contrastive Learning
    Batch Size under Memory Limited Setup"). Dropout draws the same in both. Only batch norm differs
    from an undivided batch: its statistics are those of a part; its running averages move by as
    much as one batch would move them.

    Args:
        network: in training mode; its gradients are added to.
        compute_loss: a function of logits (N, C, H, W), float32.
        images_NKHW: the batch.
        parts: number of equal parts.
        precision: a function that returns the context of a forward pass.

    Returns:
        The loss, and the logits (N, C, H, W), both detached.
    """
    images, states, logits = images_NKHW.chunk(parts), [], []
    with torch.no_grad(), running_averages_kept(network):
        for part_n1HW in images:
            states.append(_random_state(images_NKHW.device))
            with precision():
                logits.append(network(part_n1HW))
    logits_NCHW = torch.cat(logits)
    leaf_NCHW = logits_NCHW.float().requires_grad_()
    value = compute_loss(leaf_NCHW)
    value.backward()
    after = _random_state(images_NKHW.device)
    with running_averages_slowed(network, parts):
        for part_n1HW, state, slope_nCHW in zip(
            images, states, leaf_NCHW.grad.chunk(parts), strict=True
        ):
            _set_random_state(images_NKHW.device, state)
            with precision():
                part_nCHW = network(part_n1HW)
            part_nCHW.backward(slope_nCHW.to(part_nCHW.dtype))
    _set_random_state(images_NKHW.device, after)
    return value.detach(), logits_NCHW


def _random_state(device):
    return torch.cuda.get_rng_state() if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device, state):
    if device.type == "cuda":
        torch.cuda.set_rng_state(state)
    else:
        torch.set_rng_state(state)


def running_averages_kept(network: torch.nn.Module) -> AbstractContextManager[None]:
    """Let batch norm use a batch's statistics without updating its running averages."""
    return _batch_norm_with(network, "track_running_stats", lambda tracked: False)


def running_averages_slowed(network: torch.nn.Module, parts: int) -> AbstractContextManager[None]:
    """Let `parts` updates of batch norm's running averages weigh as much as one."""
    return _batch_norm_with(
        network, "momentum", lambda momentum: momentum and 1 - (1 - momentum) ** (1 / parts)
    )


@contextmanager
def _batch_norm_with(network, name, change):
    """Change an attribute of every batch norm inside the `with` block."""
    norms = [norm for norm in network.modules() if isinstance(norm, _BatchNorm)]
    before = [getattr(norm, name) for norm in norms]
    for norm, value in zip(norms, before, strict=True):
        setattr(norm, name, change(value))
    try:
        yield
    finally:
        for norm, value in zip(norms, before, strict=True):
            setattr(norm, name, value)
