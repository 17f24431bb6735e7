"""The optimizer wrapper of self-supervised training.

What DINO's training loop (arXiv 2104.14294, public code) does between the loss and the next iteration,
as a piece of MMEngine: mixed precision, clipping per parameter tensor, cancelled gradients of the last
layer, and the refusal to step on a non-finite loss. Different from MMEngine's ``AmpOptimWrapper``: it runs
on the CPU too, it clips each tensor by its own norm (DINO's rule, not the global norm), and it never
makes the host wait for the device.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from mmrel.engine.checkpointing.finite import nonfinite_state
from mmrel.engine.checkpointing.whole import shared_out
from mmrel.engine.deferred_scalars import defer_scalar
from mmrel.engine.optimizers.clipping import clip_per_tensor, clipper_of
from mmrel.engine.optimizers.nonfinite import NonFiniteGuard, is_deferred
from mmrel.engine.optimizers.precision import PRECISIONS, check_precision
from mmrel.registry import OPTIM_WRAPPERS
from mmrel.utils.text import listed

__all__ = ["SelfSupOptimWrapper", "clip_per_tensor"]

IMPLEMENTATION_KEYS = ("fused", "foreach", "capturable", "differentiable")


@OPTIM_WRAPPERS.register_module()
class SelfSupOptimWrapper(OptimWrapper):
    """Mixed precision, per-tensor clipping, frozen gradients and the non-finite guard.

    The model may have ``last_losses`` (named scalars) and ``last_samples`` (positions in the data set);
    both make the message about a non-finite loss precise.

    Args:
        optimizer: the optimizer.
        precision: ``"fp32"``, ``"bf16"`` (autocast) or ``"fp16"`` (autocast and loss scaling).
        clip_grad: ``dict(max_norm=...)``, per parameter tensor, or ``dict(max_norm=..., scope="global")``, by the norm
            of all gradients together, as ``torch.nn.utils.clip_grad_norm_``; ``None`` or 0: no clipping.
        loss_scale: for fp16: ``"dynamic"``, a fixed number, or ``GradScaler``'s arguments.
        accumulative_counts: micro-batches per update.
        max_skipped: for fp16: so many updates skipped in a row stop the run. Each halves a dynamic scale; 30 of them
            take it from 65536 below 2^-13, where nothing but a gradient that is itself NaN or infinite is left.
        nonfinite_check: ``"immediate"``, ``"deferred"`` (needs a fused optimizer), or ``"auto"``: deferred
            for a fused optimizer on a CUDA device, otherwise immediate.

    Attributes:
        stepped: the last ``update_params`` ended an update (false for accumulation micro-steps).
        step_ok: 0-dim bool tensor: that update changed the weights; false after an fp16 overflow or a
            non-finite loss.
        frozen_parameters: parameters whose gradients are dropped before the step.
        idle_parameters: others of which the same is true (``mmrel.FreezeBackboneHook``).
        skipped: 0-dim int tensor: updates that fp16 skipped since the start of the run; logged as
            ``train/skipped_steps``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        precision: str = "fp32",
        clip_grad: dict[str, Any] | None = None,
        loss_scale: str | float | dict[str, Any] = "dynamic",
        accumulative_counts: int = 1,
        nonfinite_check: str = "auto",
        max_skipped: int = 30,
    ) -> None:
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        parameter = optimizer.param_groups[0]["params"][0]
        check_precision(precision, parameter.device)
        self.precision = precision
        if max_skipped < 1:
            raise ValueError(
                f"max_skipped is the number of skipped updates in a row that stops the run and must be 1 or more, but "
                f"is {max_skipped}; leave it out for 30."
            )
        self.max_skipped = max_skipped
        self._clip = clipper_of(clip_grad)
        self.device_type: str = parameter.device.type
        deferred = is_deferred(nonfinite_check, optimizer, parameter)
        self.guard = NonFiniteGuard(deferred, self._describe_state)
        self.loss_scaler, self._fixed_scale = self._build_scaler(loss_scale)
        self.frozen_parameters: list[nn.Parameter] = []
        self.idle_parameters: list[nn.Parameter] = []
        self.stepped = False
        self.step_ok: Tensor = torch.ones((), dtype=torch.bool, device=parameter.device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=parameter.device)
        self._skipped_in_a_row = torch.zeros_like(self.skipped)
        self._model: weakref.ref[nn.Module] | None = None
        self._names: dict[int, str] = {}

    def _build_scaler(
        self, loss_scale: str | float | dict[str, Any]
    ) -> tuple[GradScaler | None, float | None]:
        if self.precision != "fp16":
            return None, None
        if loss_scale == "dynamic":
            return GradScaler(self.device_type), None
        if isinstance(loss_scale, dict):
            return GradScaler(self.device_type, **loss_scale), None
        if isinstance(loss_scale, int | float):
            return GradScaler(self.device_type, init_scale=float(loss_scale)), float(loss_scale)
        raise ValueError(
            f"loss_scale must be 'dynamic', a number or a dict of GradScaler arguments, but is "
            f"{loss_scale!r}; leave it out for dynamic scaling."
        )

    @property
    def max_iters(self) -> int | None:
        """Iterations of the whole run, once the runner has told."""
        return self._max_counts if self._max_counts > 0 else None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast in the chosen precision, and no gradient synchronisation in micro-steps.

        Raises:
            NonFiniteError: if the iteration before was not finite (deferred check).
        """
        self.check_finite()
        self._remember(model)
        autocast = torch.autocast(
            self.device_type, PRECISIONS[self.precision], enabled=self.precision != "fp32"
        )
        with super().optim_context(model), autocast:
            yield

    def check_finite(self, wait: bool = False) -> None:
        """Raise on all ranks if a loss or a gradient was not finite.

        Args:
            wait: include the newest iteration, waiting for the device.
        """
        self.guard.check(wait)

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Backward and, at the end of an accumulation window, the step.

        Args:
            loss: 0-dim tensor.
            step_kwargs: for the optimizer's ``step``.
            zero_kwargs: for its ``zero_grad``.

        Raises:
            NonFiniteError: with the immediate check, before anything was changed.
        """
        self.stepped = False
        model = None if self._model is None else self._model()
        losses = {"loss": loss, **(getattr(model, "last_losses", None) or {})}
        samples = getattr(model, "last_samples", None) or ()
        self.guard.observe_losses(losses, samples, self._inner_count)
        super().update_params(loss, step_kwargs, zero_kwargs)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Backward of the loss, scaled for fp16."""
        super().backward(
            loss if self.loss_scaler is None else self.loss_scaler.scale(loss), **kwargs
        )

    def step(self, **kwargs: Any) -> None:
        """Unscale, clip per tensor, drop frozen gradients, and step unless something is not finite."""
        if self.loss_scaler is not None:
            self.loss_scaler.unscale_(self.optimizer)
        self._clip_and_observe()
        for parameter in (*self.frozen_parameters, *self.idle_parameters):
            parameter.grad = None
        if self.loss_scaler is not None:
            self._scaled_step(self.loss_scaler, **kwargs)
        else:
            self._plain_step(**kwargs)
        self.stepped = True

    def _clip_and_observe(self) -> None:
        parameters = [
            parameter
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if not parameters:
            return
        # Clipped before the frozen gradients are dropped, as in DINO's loop. With a global norm
        # that order would matter; tensor by tensor it only decides what is logged.
        norms = self._clip([p.grad for p in parameters])
        defer_scalar(self.message_hub, "train/grad_norm", norms.norm())
        defer_scalar(self.message_hub, "train/grad_norm_max", norms.max())
        if self.loss_scaler is None:
            self.guard.observe_gradients(self._parameter_names(parameters), norms)

    def _plain_step(self, **kwargs: Any) -> None:
        assert self.guard.healthy is not None
        self.step_ok = self.guard.healthy
        if not self.guard.deferred:
            self.optimizer.step(**kwargs)
            return
        # The attribute that GradScaler sets on optimizers which gate themselves: a fused step reads
        # it on the device and leaves weights, moments and its step counter alone where it is 1. It
        # must not outlive this step.
        self.optimizer.found_inf = (~self.step_ok).float()
        try:
            self.optimizer.step(**kwargs)
        finally:
            del self.optimizer.found_inf

    def _scaled_step(self, scaler: GradScaler, **kwargs: Any) -> None:
        assert self.guard.healthy is not None
        # GradScaler decides per device whether to step by the infinities that unscale_ found in the
        # gradients. A loss that is not finite on another rank leaves this rank's gradients finite,
        # so its finding goes into the same flags: all ranks skip together, the scale falls as after
        # an overflow, and no value is read by the host.
        overflows = list(scaler._found_inf_per_device(self.optimizer).values())
        for overflow in overflows:
            overflow.copy_(torch.maximum(overflow, (~self.guard.healthy).to(overflow)))
        # No entries: no parameter had a gradient, and step() below would refuse; there is nothing
        # to skip.
        self.step_ok = torch.stack(overflows).sum() == 0 if overflows else self.guard.healthy
        scaler.step(self.optimizer, **kwargs)
        scaler.update(self._fixed_scale)
        self._count_skips()

    def _count_skips(self) -> None:
        skips = (~self.step_ok).to(self.skipped)
        self.skipped = self.skipped + skips
        self._skipped_in_a_row = (self._skipped_in_a_row + 1) * skips
        defer_scalar(self.message_hub, "train/skipped_steps", self.skipped)
        self.guard.observe_skips(self._skipped_in_a_row, self.max_skipped)

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state and, for fp16, the loss scale's.

        Raises:
            NonFiniteError: if the state to be saved comes after a non-finite iteration.
        """
        self.guard.check(wait=True, alone=True)
        state = super().state_dict()
        if self.loss_scaler is not None:
            state["loss_scaler"] = self.loss_scaler.state_dict()
            state["skipped"] = [int(self.skipped), int(self._skipped_in_a_row)]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load; a loss scale is ignored without fp16, the kernel choice (fused, ...) stays this run's."""
        state = dict(state_dict)
        scale, skipped = state.pop("loss_scaler", None), state.pop("skipped", None)
        if scale and self.loss_scaler is not None:
            self.loss_scaler.load_state_dict(scale)
        if skipped is not None:
            self.skipped.fill_(skipped[0])
            self._skipped_in_a_row.fill_(skipped[1])
        # torch takes every key of the saved groups, also the choice of kernel. A checkpoint of a
        # fused run would otherwise make this run fused, on a device that may not have it.
        live = self.optimizer.param_groups
        if len(live) == len(state["param_groups"]):
            state["param_groups"] = [
                {**saved, **{key: own[key] for key in IMPLEMENTATION_KEYS if key in own}}
                for saved, own in zip(state["param_groups"], live, strict=True)
            ]
        state["state"] = shared_out(state["state"], self.optimizer)
        super().load_state_dict(state)

    def _remember(self, model: nn.Module) -> None:
        inner: Any = model.module if is_model_wrapper(model) else model
        if self._model is None or self._model() is not inner:
            self._model = weakref.ref(inner)
            self._names = {id(p): name for name, p in inner.named_parameters()}

    def _describe_state(self) -> str:
        """For the message about a non-finite number: whether an earlier step has spoilt the state already."""
        model = None if self._model is None else self._model()
        bad = [] if model is None else nonfinite_state(model, self)
        if not bad:
            return (
                "No step was taken with them: weights, teacher, centres and optimizer are finite."
            )
        return f"An earlier step has spoilt the state itself: {listed(bad, 4)} is not finite."

    def _parameter_names(self, parameters: Iterable[nn.Parameter]) -> tuple[str, ...]:
        return tuple(self._names.get(id(parameter), "unnamed") for parameter in parameters)
