"""The loss of a network with deep supervision: a weighted mean over the levels that give logits."""

from collections.abc import Callable, Sequence

from torch import Tensor


def loss_of_levels(
    loss: Callable[..., Tensor],
    outputs: Tensor | Sequence[Tensor],
    labels: Tensor,
    *,
    exclusive: bool,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """The loss of logits (B, K, X, Y, Z) or the mean over those of several levels, finest first: a scalar.

    Labels (B, K, X, Y, Z) are those of the finest level. `weights` are scaled to the sum 1; None is 1,
    1/2, 1/4, ... (Isensee et al. 2021).

    Raises:
        ValueError: another number of weights than of levels.
    """
    if isinstance(outputs, Tensor):
        return loss(outputs, labels, exclusive=exclusive)
    weights = weights or [0.5**level for level in range(len(outputs))]
    terms = [
        weight * loss(logits, at_level(labels, logits.shape[2:]), exclusive=exclusive)
        for weight, logits in zip(weights, outputs, strict=True)
    ]
    return sum(terms[1:], start=terms[0]) / sum(weights)


def at_level(values: Tensor, size: Sequence[int]) -> Tensor:
    """Values (B, K, X, Y, Z) of the finest level at the voxels of one of `size`: the nearest, not copied.

    A strided convolution is centred on the first voxel of those that it joins, so that one is taken; what
    is ignored there stays ignored.
    """
    x, y, z = (fine // coarse for fine, coarse in zip(values.shape[2:], size, strict=True))
    return values[:, :, ::x, ::y, ::z]
