"""Stopping a run before a non-finite loss reaches weights, teacher or centres.

Every rank must stop at the same iteration, or the others hang in their next collective; so the
finding is all-reduced, and the moment at which the host looks at it is fixed:

- immediate: the host looks before ``backward``. Right on the CPU, where looking costs nothing.
- deferred: the finding stays on the device, where it gates the optimizer step and the commit, and the
  host looks when the next iteration begins. By then the device has long passed it, so that nobody
  waits for an idle device. Once bad, it stays bad: no later step gets through either.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from torch import Tensor
from torch.optim import Optimizer

from mmrel.utils.text import listed


class NonFiniteError(FloatingPointError):
    """A number of the training step is not finite; nothing was updated with it."""


class NonFiniteLossError(NonFiniteError):
    """A loss is NaN or infinite."""


class NonFiniteGradientError(NonFiniteError):
    """The losses are finite, but a gradient is not."""


class NonFiniteStateError(NonFiniteError):
    """Weights, buffers or optimizer moments are not finite."""


@dataclass
class _Record:
    """What is needed to explain one iteration; tensors stay on the device until it fails."""

    iteration: int
    samples: tuple[int, ...]
    loss_names: tuple[str, ...]
    losses: Tensor
    gradient_names: tuple[str, ...] = ()
    gradient_norms: Tensor | None = None
    skipped: Tensor | None = None
    limit: int = 0


class _HostFlags:
    """Booleans on their way from the device to the host."""

    def __init__(self) -> None:
        self._host: Tensor | None = None
        self._event: torch.cuda.Event | None = None

    def send(self, flags: Tensor) -> None:
        if not flags.is_cuda:
            self._host = flags
            return
        if self._host is None:
            # Pinned, or the copy would be a synchronous one in disguise. One buffer is enough: it
            # is read before it is sent to again.
            self._host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
            # Blocking: the host sleeps. It would otherwise spin, on a core that the loader needs.
            self._event = torch.cuda.Event(blocking=True)
        self._host.copy_(flags, non_blocking=True)
        assert self._event is not None
        self._event.record()

    def receive(self) -> list[bool] | None:
        """What was sent last; ``None`` if nothing was."""
        if self._host is None:
            return None
        if self._event is not None:
            self._event.synchronize()
        return [bool(flag) for flag in self._host.tolist()]


class NonFiniteGuard:
    """Watches losses and gradients, and raises on all ranks together.

    The all-reduce of each iteration also carries one wish: that all ranks stop together (a signal reached one of
    them). It costs no collective of its own.

    Args:
        deferred: when the host looks; see the module's text.
        bad_state: names what is not finite in weights and optimizer, for the message.

    Attributes:
        healthy: 0-dim bool tensor on the device: everything so far was finite on every rank; ``None``
            before the first observation.
        stop_wanted: this rank wants all of them to stop.
        stop_agreed: all ranks know that one of them wants it, and learn it in the same iteration.
    """

    def __init__(self, deferred: bool, bad_state: Callable[[], str] = str) -> None:
        self.deferred = deferred
        self.healthy: Tensor | None = None
        # A gradient of iteration i is part of the flag that is sent in i + 1 and read when i + 2
        # begins: the record of i must still be here.
        self.stop_wanted = False
        self.stop_agreed = False
        self._proceed: Tensor | None = None
        self._bad_state = bad_state
        self._records: deque[_Record] = deque(maxlen=3)
        self._flags = _HostFlags()

    def observe_losses(
        self, losses: dict[str, Tensor], samples: tuple[int, ...], iteration: int
    ) -> None:
        """Look at the losses of one iteration, before ``backward``.

        Args:
            losses: named scalars.
            samples: positions of this rank's images in the data set.
            iteration: which iteration this is, for the message.

        Raises:
            NonFiniteLossError: in immediate mode, on all ranks if one of them has a non-finite loss.
        """
        # Of one dtype, which stack() needs; a head may give its loss in another one.
        values = torch.stack([value.detach().float().mean() for value in losses.values()])
        self._records.append(_Record(iteration, tuple(samples), tuple(losses), values))
        self._combine(values.isfinite().all(), reduce=True)
        assert self.healthy is not None and self._proceed is not None
        if self.deferred:
            self._flags.send(torch.stack([self.healthy, self._proceed]))
        else:
            self.check()
            self.stop_agreed = not self._proceed

    def observe_gradients(self, names: tuple[str, ...], norms: Tensor) -> None:
        """Look at the gradients' norms ``(P,)``, after ``backward`` and before the step.

        Gradients are equal on all ranks, hence deferred mode needs no collective here: the next
        ``observe_losses`` includes the finding.

        Raises:
            NonFiniteGradientError: in immediate mode, if a norm is not finite.
        """
        record = self._records[-1]
        record.gradient_names, record.gradient_norms = names, norms
        self._combine(norms.isfinite().all(), reduce=not self.deferred)
        if not self.deferred:
            self.check()

    def observe_skips(self, in_a_row: Tensor, limit: int) -> None:
        """Look at the number of updates in a row that fp16 skipped, equal on all ranks.

        Raises:
            NonFiniteGradientError: in immediate mode, if there are ``limit`` of them.
        """
        self._records[-1].skipped, self._records[-1].limit = in_a_row, limit
        self._combine(in_a_row < limit, reduce=False)
        if not self.deferred:
            self.check()

    def check(self, wait: bool = False, alone: bool = False) -> None:
        """Raise if something was not finite.

        Args:
            wait: look at everything observed so far (this waits for the device), not only at what
                the host was told of.
            alone: not all ranks make this call, so do not ask the others for their findings.

        Raises:
            NonFiniteError: on all ranks at the same call.
        """
        if self.healthy is None:
            return
        if wait or not self.deferred:
            fine = bool(self.healthy)
        else:
            fine, proceed = self._flags.receive() or (True, True)
            self.stop_agreed = not proceed
        if not fine:
            self._raise(alone)

    def _combine(self, finite: Tensor, reduce: bool) -> None:
        flag = finite if self.healthy is None else self.healthy & finite
        if not reduce:
            self.healthy = flag
            return
        # Floats, since NCCL and Gloo reduce numbers: min over ranks is "all of them". ANDed with the past, the
        # finding never recovers, so that the steps which the device has in its queue by then are gated too.
        both = torch.stack([flag.float(), torch.full_like(flag, not self.stop_wanted).float()])
        if get_world_size() > 1:
            all_reduce(both, op="min")
        self.healthy, self._proceed = both.bool().unbind()

    def _raise(self, alone: bool) -> None:
        own = self._findings()
        all_ranks: list[list[tuple[str, str]]] = [own]
        # A collective in an error path: every rank comes here in the same call, since all of them
        # read the same reduced flag. `alone` is for calls that only one rank makes, such as saving,
        # where this would hang.
        if get_world_size() > 1 and not alone:
            all_ranks = all_gather_object(own)
        kinds = {kind for findings in all_ranks for kind, _ in findings}
        cause = "loss" if "loss" in kinds else "gradient"
        found = " ".join(
            f"rank {rank}: {text}"
            for rank, findings in enumerate(all_ranks)
            for kind, text in findings
            if kind == cause
        )
        error = NonFiniteLossError if cause == "loss" else NonFiniteGradientError
        raise error(
            f"Training stopped on all ranks (this is rank {get_rank()}) because of numbers that are "
            f"not finite. {found} {self._bad_state()} mmrel.AtomicCheckpointHook writes finite states only, so the "
            "latest checkpoint is good. Resume from it with stronger gradient clipping or precision='bf16' or 'fp32' "
            "in place of 'fp16', or start a new run from its weights (load_from) with a lower learning rate; look at "
            "the named samples first if one rank alone is concerned."
        )

    def _findings(self) -> list[tuple[str, str]]:
        """``(kind, sentence)`` for the first iteration of this rank with something non-finite."""
        for record in self._records:
            where = f"at iteration {record.iteration} (samples {list(record.samples)})."
            bad = _describe(record.loss_names, record.losses)
            if bad:
                return [("loss", f"{bad} {where}")]
            if record.gradient_norms is not None:
                bad = _describe(record.gradient_names, record.gradient_norms)
                if bad:
                    return [("gradient", f"gradient norm of {bad} {where}")]
            if record.skipped is not None and int(record.skipped) >= record.limit:
                told = f"the gradients of {record.limit} updates in a row overflowed in fp16"
                return [("gradient", f"{told}, the last {where}")]
        return []


def _describe(names: tuple[str, ...], values: Tensor, limit: int = 5) -> str:
    """``"name = nan, ..."`` for the entries that are not finite, at most ``limit`` of them."""
    numbers = zip(names, values.tolist(), strict=True)
    bad = [f"{name} = {number}" for name, number in numbers if not _is_finite(number)]
    return listed(bad, limit)


def _is_finite(number: float) -> bool:
    return number - number == 0.0


def is_deferred(check: str, optimizer: Optimizer, parameter: Tensor) -> bool:
    """Whether the check comes an iteration later, without a wait, which takes an optimizer that gates its own step.

    Args:
        check: ``"auto"``, ``"immediate"`` or ``"deferred"``.
        optimizer: the one to be checked.
        parameter: one of its parameters.

    Raises:
        ValueError: another word, or an optimizer that cannot.
    """
    gated = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
    if check == "auto":
        return gated and parameter.is_cuda
    if check == "deferred" and not gated:
        raise ValueError(
            f"nonfinite_check='deferred' needs an optimizer whose step can be gated on the device, but "
            f"{type(optimizer).__name__} was built without fused=True; add fused=True to the "
            "optimizer, or use nonfinite_check='immediate'."
        )
    if check not in ("deferred", "immediate"):
        raise ValueError(
            f"nonfinite_check must be 'auto', 'immediate' or 'deferred', but is {check!r}; leave it "
            "out for 'auto'."
        )
    return check == "deferred"
