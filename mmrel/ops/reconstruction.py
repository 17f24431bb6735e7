"""The reconstruction loss of SiT (arXiv 2104.03602): L1 on corrupted pixels."""

from torch import Tensor

from mmrel.ops.precision import upcast, without_autocast


def masked_l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """``sum(m |prediction - target|) / sum(m)``, one mean over the masked values of all images together.

    An image with more masked pixels weighs more than one with fewer. Nobody waits for a count.

    Args:
        prediction: ``(n, C, H, W)``, of any float type.
        target: of the same shape.
        mask: bool ``(n, H, W)``, the same for all channels.

    Returns:
        Scalar in float32, or float64 for float64 predictions; 0 if nothing is masked.

    Raises:
        ValueError: shapes that do not fit.
    """
    if prediction.shape != target.shape or mask.shape != target[:, 0].shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)} and mask "
            f"{tuple(mask.shape)}; they must be (n, C, H, W), the same, and (n, H, W)"
        )
    with without_autocast(prediction):
        difference = (upcast(prediction) - target) * mask.unsqueeze(1)
        return difference.abs().sum() / (mask.sum() * target.shape[1]).clamp(min=1)
