"""How a GPU computes in float32, and what it needs to compute the same twice."""

import os

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.registry import HOOKS
from mmrel.utils.device import on_cpu

PRECISIONS = ("highest", "high", "medium")
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
REPRODUCIBLE_WORKSPACE = ":4096:8"


@HOOKS.register_module()
class ArithmeticHook(Hook):
    """Sets the precision of float32 matrix products and convolutions on a GPU for the time of a run.

    It acts in any runner, and not at all on the CPU, where torch would use the bfloat16 units that some have. In a
    run with ``randomness=dict(deterministic=True)`` it also gives cuBLAS the workspace without which torch refuses it.

    Args:
        float32_matmul: ``"highest"``: float32; ``"high"``: TensorFloat32, with 10 bits of mantissa; ``"medium"``: also
            bfloat16. As ``torch.set_float32_matmul_precision``; convolutions use TensorFloat32 unless it is
            ``"highest"``.
    """

    priority = "VERY_HIGH"

    def __init__(self, float32_matmul: str = "high") -> None:
        if float32_matmul not in PRECISIONS:
            raise ValueError(
                f"float32_matmul is {float32_matmul!r}; set default_hooks.arithmetic.float32_matmul to 'high' "
                "(TensorFloat32 on GPUs that have it), 'highest' (float32) or 'medium' (bfloat16 where torch can)."
            )
        self.float32_matmul = float32_matmul
        self._before: tuple[str, bool] | None = None

    def before_run(self, runner: Runner) -> None:
        """Set it, and remember what was set."""
        if on_cpu():
            return
        if torch.are_deterministic_algorithms_enabled():
            # In time: cuBLAS reads it at the first product, and no model computes before its run begins.
            os.environ.setdefault(WORKSPACE, REPRODUCIBLE_WORKSPACE)
        self._before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        _set(self.float32_matmul, self.float32_matmul != "highest")

    def after_run(self, runner: Runner) -> None:
        """Leave to the rest of the process what it had."""
        if self._before is not None:
            _set(*self._before)
            self._before = None


def _set(matmul: str, convolutions: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = convolutions
