"""The loss of a stack of networks whose backward pass is written out."""

from __future__ import annotations

import torch


def cross_entropies_and_slopes(
    logits: torch.Tensor, labels: torch.Tensor, scale: torch.Tensor, label_smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean cross-entropies, and the gradients of the smoothed ones with respect to logits.

    Parameters
    ----------
    logits
        Shape (K, classes, samples): reductions over few classes are five times faster so.
    labels
        Shape (K, samples), int64.
    scale
        By what each network's gradients are multiplied, shape (K,).
    label_smoothing
        Share of the target that is spread evenly over all classes.

    Returns
    -------
    tuple
        Losses, shape (K,), without smoothing; gradients in the shape of the logits.
    """
    classes, samples = logits.shape[1:]
    chosen = labels.unsqueeze(1)
    logs = logits.log_softmax(dim=1)
    losses = logs.gather(1, chosen).sum(dim=(1, 2)).mul_(-1 / samples)
    share = scale.view(-1, 1, 1) / samples
    slopes = logs.exp_().mul_(share)
    of_chosen = share * (label_smoothing - 1)
    if slopes.is_cuda:
        # to scatter it, CUDA would sort first
        is_chosen = chosen == torch.arange(classes, device=labels.device).view(1, -1, 1)
        slopes.add_(is_chosen * of_chosen)
    else:
        slopes.scatter_add_(1, chosen, of_chosen.expand(chosen.shape))
    if label_smoothing:
        slopes.sub_(share * (label_smoothing / classes))
    return losses, slopes
