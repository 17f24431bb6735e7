"""The skeleton of every student-teacher method: one data flow, filled in by necks and heads.

    crops -> backbone -> necks -> heads -> losses; after a successful step: teacher, centres (``commit``)

A method chooses necks and heads; it never overrides the flow. The teacher is an exponential moving average
of the student (Mean Teacher, arXiv 1703.01780; DINO, arXiv 2104.14294) and an ordinary part of the model, so
it is in every checkpoint.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, ModuleDict
from torch import Tensor, nn

from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

Built = dict[str, Any] | nn.Module

KNOWN_NEEDS = frozenset({"masks", "geometry", "teacher_local"})
MAX_UNCOMMITTED = 64


@MODELS.register_module()
class StudentTeacher(BaseModel):
    """A student, its EMA teacher, and the heads that compare them.

    State-dict layout: student ``backbone.*``, ``neck.<name>.*``, ``head.<name>.*``; teacher ``teacher.backbone.*``,
    ``teacher.neck.<name>.*``.

    Args:
        backbone: gives :class:`TokenViews`, for instance ``mmrel.ViT``.
        neck: named necks; each has ``student``, ``teacher`` and ``teacher_copy``.
        head: named heads; each says in ``neck`` which neck it reads, in ``needs`` what the batch must
            hold, in ``terms`` the losses that it returns, and has a ``loss_weight``.
        data_preprocessor: ``mmrel.ViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        backbone: Built,
        neck: Mapping[str, Built],
        head: Mapping[str, Built],
        data_preprocessor: Built | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type="mmrel.ViewPreprocessor"), init_cfg)
        self.backbone: Any = _build(backbone)
        necks = {name: _build(part) for name, part in neck.items()}
        self.neck: Any = ModuleDict(necks)
        self.head: Any = ModuleDict({name: _build(part) for name, part in head.items()})
        self.teacher: Any = nn.ModuleDict(
            {
                "backbone": self.backbone.teacher_copy(),
                "neck": nn.ModuleDict({name: part.teacher_copy() for name, part in necks.items()}),
            }
        ).requires_grad_(False)
        self._check_parts()
        self.last_losses: dict[str, Tensor] = {}
        self.last_samples: tuple[int, ...] = ()
        self._uncommitted = 0

    def init_weights(self) -> None:
        """Initialise the student and copy it into the teacher."""
        super().init_weights()
        self.synchronize_teacher()

    @torch.no_grad()
    def synchronize_teacher(self) -> None:
        """Make the teacher an exact copy of the student."""
        for teacher, student in self._teacher_pairs():
            teacher.copy_(student)

    def forward(
        self, inputs: Any, data_samples: list | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | Tensor:
        """MMEngine's entry.

        Args:
            inputs: a :class:`ViewBatch` (``mode='loss'``) or images ``(B, 3, H, W)`` (``mode='tensor'``).
            data_samples: unused; part of the host's calling convention.
            mode: ``'loss'`` or ``'tensor'``.

        Returns:
            Named losses and statistics, or the teacher's class tokens ``(B, C)``.
        """
        if mode == "loss":
            return self.loss(inputs)
        if mode == "tensor":
            return self.extract_feat(inputs)
        raise ValueError(f"mode is {mode!r}; a self-supervised model knows 'loss' and 'tensor'")

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Class tokens ``(B, C)`` of the teacher for images ``(B, 3, H, W)``."""
        return self.teacher.backbone(inputs).cls

    def loss(self, views: ViewBatch) -> dict[str, Tensor]:
        """Run both networks once, on exactly what the heads need, and collect the heads' losses."""
        self._check_batch(views)
        self._count_forward()
        self.last_samples = views.sample_indices
        student = self._student_tokens(views)
        teacher = self._teacher_tokens(views)
        results: dict[str, Tensor] = {"stat/feature_std": feature_std(teacher.global_crops.cls)}
        outputs = {}
        for name, neck in self.neck.items():
            with torch.no_grad():
                targets = self.teacher.neck[name].teacher(teacher, views)
            outputs[name] = (neck.student(student, views), targets)
        for head in self.head.values():
            for key, value in head(*outputs[head.neck], views).items():
                results[key] = value * head.loss_weight if "loss" in key else value
        return results

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As the host does; keeps the named losses for whoever checks that they are finite."""
        total, log_vars = super().parse_losses(losses)
        self.last_losses = {k: v.detach() for k, v in log_vars.items() if "loss" in k}
        return total, log_vars

    def set_epoch(self, epoch: int) -> None:
        """Tell the heads which epoch begins (counted from 0)."""
        for head in self.head.values():
            if hasattr(head, "set_epoch"):
                head.set_epoch(epoch)

    @torch.no_grad()
    def commit(self, momentum: float, ok: Tensor) -> None:
        """Update the teacher and the heads' state after an optimiser step: ``t <- m t + (1 - m) s``.

        Args:
            momentum: m of this step.
            ok: 0-dim bool; where false (the step was skipped) nothing changes. It is read on the device only.
        """
        self._uncommitted = 0
        teachers, students = zip(*self._teacher_pairs(), strict=True)
        keep = torch.where(ok, torch.full_like(ok, momentum, dtype=teachers[0].dtype), 1.0)
        add = torch.where(ok, torch.full_like(ok, 1.0 - momentum, dtype=teachers[0].dtype), 0.0)
        torch._foreach_mul_(teachers, keep)
        torch._foreach_add_(teachers, torch._foreach_mul(students, add))
        for head in self.head.values():
            if hasattr(head, "commit"):
                head.commit(ok)

    def _student_tokens(self, views: ViewBatch) -> NetworkTokens:
        masks = views.masks if self._needs("masks") else None
        global_tokens = self.backbone(views.global_crops, masks)
        if views.local_crops is None:
            return NetworkTokens(global_tokens)
        return NetworkTokens(global_tokens, self.backbone(views.local_crops))

    @torch.no_grad()
    def _teacher_tokens(self, views: ViewBatch) -> NetworkTokens:
        local: TokenViews | None = None
        if views.local_crops is not None and self._needs("teacher_local"):
            local = self.teacher.backbone(views.local_crops)
        return NetworkTokens(self.teacher.backbone(views.global_crops), local)

    def _teacher_pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        for name, teacher in self.teacher.named_parameters():
            yield teacher, self.get_parameter(name)

    def _needs(self, what: str) -> bool:
        return any(what in head.needs for head in self.head.values())

    def _check_parts(self) -> None:
        for name, head in self.head.items():
            if head.neck not in self.neck:
                raise ValueError(
                    f"head {name!r} reads neck {head.neck!r}, but the necks are {sorted(self.neck)}; name one of them"
                )
            if unknown := head.needs - KNOWN_NEEDS:
                raise ValueError(
                    f"head {name!r} needs {sorted(unknown)}; known needs: {sorted(KNOWN_NEEDS)}"
                )
        terms = [term for head in self.head.values() for term in head.terms]
        if len(terms) != len(set(terms)):
            raise ValueError(
                f"several heads return a loss of the same name: {terms}; names must differ"
            )
        shared = {p.data_ptr() for p in self.teacher.parameters()} & {
            p.data_ptr() for part in (self.backbone, self.neck) for p in part.parameters()
        }
        if shared:
            raise ValueError(
                f"teacher and student share the storage of {len(shared)} tensors; a neck's teacher_copy() must copy"
            )

    def _check_batch(self, views: ViewBatch) -> None:
        if not isinstance(views, ViewBatch):
            raise TypeError(
                f"a training batch must be a ViewBatch, got {type(views).__name__}; "
                "set data_preprocessor=dict(type='mmrel.ViewPreprocessor') and end the pipeline with mmrel.PackViews"
            )
        if self._needs("masks") and views.masks is None:
            raise ValueError(
                "a head needs masks, but the batch has none; add mmrel.BlockMask to the pipeline"
            )
        if self._needs("geometry") and views.geometry is None:
            raise ValueError(
                "a head needs the crops' boxes, but the batch has none; use mmrel.MultiCrop"
            )

    def _count_forward(self) -> None:
        if not (self.training and torch.is_grad_enabled()):
            return
        self._uncommitted += 1
        if self._uncommitted > MAX_UNCOMMITTED:
            raise RuntimeError(
                f"the teacher was not updated during {MAX_UNCOMMITTED} training iterations, so the student would "
                "learn from random weights; add dict(type='mmrel.TeacherUpdateHook') to custom_hooks, "
                "or call model.commit(momentum, ok) after each optimiser step of your own loop"
            )


def _build(part: Built) -> Any:
    return part if isinstance(part, nn.Module) else MODELS.build(part)


@torch.no_grad()
def feature_std(features: Tensor) -> Tensor:
    """Mean over channels of the standard deviation of L2-normalised features ``(n, C)``, times sqrt(C).

    About 1 for spread features and 0 when all images look alike (SimSiam, arXiv 2011.10566, section 4.1).
    """
    unit = F.normalize(features.float(), dim=-1)
    return unit.std(dim=0).mean() * features.shape[-1] ** 0.5
