"""torchvision's operators under the names and calling conventions of mmcv's compiled module.

``mmcv._ext`` is the compiled part of mmcv. Detectors need three of its operators, and torchvision
ships all three prebuilt for CPU and CUDA: ``nms``, ``roi_align_forward``, ``roi_align_backward``.
Any other operator can be looked up, as ``mmcv.ops`` does at import, but not called.

Differences from mmcv's own: 16-bit inputs are computed in float32 and rounded once at the end, and
RoIAlign has no maximum pooling.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
import torchvision  # noqa: F401 - registers the operators under torch.ops.torchvision
from torch import Tensor

SERVED = (
    "nms",
    "roi_align_forward",
    "roi_align_backward",
    "get_compiler_version",
    "get_compiling_cuda_version",
)


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Non-maximum suppression.

    Args:
        bboxes (Tensor): Boxes ``(N, 4)`` as ``x1, y1, x2, y2``.
        scores (Tensor): Scores ``(N,)``.
        iou_threshold (float): Boxes that overlap a better one by more than this are dropped.
        offset (int): 0, or 1 where ``x2`` and ``y2`` are the last pixel inside the box.

    Returns:
        Tensor: Long indices of the kept boxes, best first.
    """
    boxes = _wide(bboxes)
    if offset:
        # mmcv's offset says that x2 is the last pixel inside; torchvision's boxes end where the
        # area ends.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torch.ops.torchvision.nms(boxes, scores.to(boxes.dtype), iou_threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average RoIAlign, written into ``output``.

    Args:
        input (Tensor): Feature maps ``(B, C, H, W)``.
        rois (Tensor): Regions ``(R, 5)`` as ``image index, x1, y1, x2, y2``.
        output (Tensor): Receives the pooled regions ``(R, C, aligned_height, aligned_width)``.
        argmax_y (Tensor): Unused; maximum pooling is not served.
        argmax_x (Tensor): Unused; maximum pooling is not served.
        aligned_height (int): Rows of the pooled map.
        aligned_width (int): Columns of the pooled map.
        spatial_scale (float): Feature pixels per image pixel.
        sampling_ratio (int): Samples per bin and axis; 0 for as many as the region has pixels.
        pool_mode (int): 1 for the average; 0, the maximum, is refused.
        aligned (bool): Whether pixel centers lie at half-integers.
    """
    _require_average(pool_mode)
    features = _wide(input)
    pooled = torch.ops.torchvision.roi_align(
        features,
        rois.to(features.dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        sampling_ratio,
        aligned,
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward`, written into ``grad_input`` ``(B, C, H, W)``.

    Args are those of the forward operator, with ``grad_output (R, C, aligned_height,
    aligned_width)`` in the place of the features.
    """
    _require_average(pool_mode)
    gradient = _wide(grad_output)
    features_gradient = torch.ops.torchvision._roi_align_backward(
        gradient,
        rois.to(gradient.dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(features_gradient)


def get_compiler_version() -> str:
    """Return what ``collect_env`` prints for the compiler of mmcv's operators."""
    return "none (operators of torchvision, served by mmrel)"


def get_compiling_cuda_version() -> str:
    """Return what ``collect_env`` prints for the CUDA version of mmcv's operators."""
    return "none (operators of torchvision, served by mmrel)"


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Return a function that fails on call, for every operator that torchvision does not have."""
    # Python and inspection tools ask modules for dunder names; a function in place of __path__ or
    # __wrapped__ would break them.
    if name.startswith("_"):
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"The mmcv operator {name!r} is not available: this mmcv has no compiled operators and "
            f"mmrel serves only {', '.join(SERVED[:3])} from torchvision. Use a model without this "
            "operator, or compile mmcv for the installed torch: `pip install --no-cache-dir "
            "--force-reinstall --no-deps --no-build-isolation onedl-mmcv` (needs a C++ compiler, "
            "and nvcc for CUDA; some 20 minutes)."
        )

    refuse.__name__ = name
    return refuse


def _wide(tensor: Tensor) -> Tensor:
    # torchvision's CPU kernels know no half precision.
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _require_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' is not available: torchvision, which stands in for "
            "mmcv's compiled operators here, only averages. Set pool_mode='avg' in the RoI extractor, or "
            "compile mmcv for the installed torch."
        )
