"""The skeleton of every student-teacher method: the one data flow, with a second network to compare with.

    crops -> backbone -> necks -> heads -> losses; after a successful step: teacher, centres (``commit``)

The teacher is an exponential moving average of the student (Mean Teacher, arXiv 1703.01780; DINO, arXiv
2104.14294) and an ordinary part of the model, so it is in every checkpoint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmrel.models.backbones import ViT
from mmrel.models.contracts import (
    KNOWN_NEEDS,
    Committing,
    Network,
    PartOrConfig,
    Parts,
    TeachableBackbone,
    TeachableNeck,
    check_part,
)
from mmrel.models.selfsup.self_supervised import SelfSupervised
from mmrel.ops.moving_average import move_towards
from mmrel.ops.recompute import Precision
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch
from mmrel.utils.sharding import local_parts

MAX_UNCOMMITTED = 64
"""Training iterations after which a teacher that has not moved is taken for a mistake; times the accumulation."""


class TeacherNetwork(nn.ModuleDict):
    """What follows the student: copies of its backbone and necks, never trained by gradients.

    Its two parts are ``teacher.backbone`` and ``teacher.neck``, or ``teacher["backbone"]`` and ``teacher["neck"]``.

    Args:
        backbone: of the student.
        neck: of the student.
    """

    backbone: TeachableBackbone
    neck: Parts[TeachableNeck]

    def __init__(self, backbone: TeachableBackbone, neck: Parts[TeachableNeck]) -> None:
        super().__init__()
        self.add_module("backbone", backbone.teacher_copy())
        necks = {name: part.teacher_copy() for name, part in neck.items()}
        self.add_module("neck", nn.ModuleDict(necks))
        self.requires_grad_(False)


class EarlyTeacher(nn.Module):
    """A snapshot of the teacher's backbone, ``early_teacher.backbone.*`` in checkpoints; nothing ever trains it.

    Args:
        backbone: of the student.
    """

    backbone: TeachableBackbone

    def __init__(self, backbone: TeachableBackbone) -> None:
        super().__init__()
        self.add_module("backbone", backbone.teacher_copy())
        self.requires_grad_(False)


@MODELS.register_module()
class StudentTeacher(SelfSupervised):
    """A student, its EMA teacher, and the heads that compare them.

    State-dict layout: student ``backbone.*``, ``neck.<name>.*``, ``head.<name>.*``; teacher ``teacher.backbone.*``,
    ``teacher.neck.<name>.*``; ``early_teacher.backbone.*``, an early state of the teacher, if a head needs one.

    Args:
        backbone: a :class:`~mmrel.models.contracts.TeachableBackbone`, for instance ``mmrel.ViT``.
        neck: named :class:`necks <mmrel.models.contracts.TeachableNeck>`.
        head: named :class:`heads <mmrel.models.contracts.LossHead>`.
        data_preprocessor: ``mmrel.ViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

    known_needs: ClassVar[frozenset[str]] = KNOWN_NEEDS

    backbone: TeachableBackbone
    neck: Parts[TeachableNeck]

    def __init__(
        self,
        backbone: PartOrConfig,
        neck: Mapping[str, PartOrConfig],
        head: Mapping[str, PartOrConfig],
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backbone, neck, head, data_preprocessor, init_cfg)
        check_part(self.backbone, TeachableBackbone)
        for part in self.neck.values():
            check_part(part, TeachableNeck)
        self.teacher = TeacherNetwork(self.backbone, self.neck)
        needed = self._needs("early_teacher")
        self.early_teacher = EarlyTeacher(self.backbone) if needed else None
        self.uses_early_teacher = needed
        """Whether the early teacher takes part, see ``mmrel.EarlyTeacherHook``."""
        self._check_teacher()
        self.max_uncommitted = MAX_UNCOMMITTED
        self._since_commit = 0
        self._unmoved_at_commit: Tensor | int = 0
        self._unmoved_at_most = 0

    @property
    def networks(self) -> dict[str, Network]:
        """The teacher, then the student."""
        return {"teacher": Network(self.teacher.backbone, self.teacher.neck), **super().networks}

    def init_weights(self) -> None:
        """Initialise the student and copy it into the teacher."""
        super().init_weights()
        self.synchronize_teacher()

    @torch.no_grad()
    def synchronize_teacher(self) -> None:
        """Make the teacher an exact copy of the student, and the early teacher one of the teacher."""
        for teacher, student in self._teacher_pairs():
            teacher.copy_(student)
        if self.early_teacher is not None:
            self.renew_early_teacher()

    @torch.no_grad()
    def renew_early_teacher(self) -> None:
        """Take a new snapshot of the teacher's backbone.

        Raises:
            ValueError: no head needs an early teacher, so there is none.
        """
        if self.early_teacher is None:
            raise ValueError(
                f"this {type(self).__name__} has no early teacher, since no head needs one; put mmrel.GramAnchoring "
                "around it"
            )
        given = self.teacher.state_dict()
        for name, tensor in self.early_teacher.state_dict().items():
            tensor.copy_(given[name])

    def begin_forward(self, views: ViewBatch) -> None:
        """As the parent's; counts the iterations that the teacher has not followed.

        Raises:
            RuntimeError: so many that nobody can be updating it.
        """
        super().begin_forward(views)
        self._count_forward()

    def loss(self, views: ViewBatch) -> dict[str, Tensor]:
        """Run both networks once, on exactly what the heads need, and collect the heads' losses."""
        self._check_batch(views)
        seen = self._rounded(views)
        return self.compare(self._student_tokens(seen), self._teacher_tokens(seen), views)

    def compare(
        self, student: NetworkTokens, teacher: NetworkTokens | None, views: ViewBatch
    ) -> dict[str, Tensor]:
        """From the tokens of both networks to losses; as the parent's."""
        assert teacher is not None
        outputs = {}
        for name, neck in self.neck.items():
            with torch.no_grad():
                targets = self.teacher.neck[name].teacher(teacher, views)
            outputs[name] = (neck.student(student, views), targets)
        return self._head_losses(teacher, outputs, views)

    @torch.no_grad()
    def commit(self, momentum: float, ok: Tensor) -> None:
        """Update the teacher and the heads' state after an optimiser step: ``t <- m t + (1 - m) s``.

        Args:
            momentum: m of this step.
            ok: 0-dim bool; where false (the step was skipped) nothing changes, not even if the student holds
                infinities. It is read on the device only.
        """
        self._count_commit(ok)
        # While the student's backbone rests, the teacher's does too: it would else drift towards the student's, where
        # a file gave each its own, and change in its last bits where they are equal.
        resting = self.backbone_frozen
        pairs = self._teacher_pairs("neck." if resting else "")
        teachers, students = map(local_parts, zip(*pairs, strict=True))
        _check_precision(teachers[0].dtype)
        move_towards(teachers, students, momentum, ok)
        for head in self.head.values():
            if isinstance(head, Committing):
                head.commit(ok)

    def _rounded(self, views: ViewBatch) -> ViewBatch:
        """The crops as a ViT's first convolution reads them: autocast would round them for each network again."""
        if not isinstance(self.backbone, ViT):
            return views
        dtype = Precision.of(views.global_crops).product
        local = views.local_crops
        return replace(
            views,
            global_crops=views.global_crops.to(dtype),
            local_crops=None if local is None else local.to(dtype),
        )

    @torch.no_grad()
    def _teacher_tokens(self, views: ViewBatch) -> NetworkTokens:
        local: TokenViews | None = None
        if views.local_crops is not None and self._needs("teacher_local"):
            local = self.teacher.backbone(views.local_crops)
        early: TokenViews | None = None
        if self.early_teacher is not None and self.uses_early_teacher:
            early = self.early_teacher.backbone(views.global_crops)
        return NetworkTokens(self.teacher.backbone(views.global_crops), local, early)

    def _teacher_pairs(self, start: str = "") -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        """Parameters of the teacher, those whose names start so, and the student's."""
        for name, teacher in self.teacher.named_parameters():
            if name.startswith(start):
                yield teacher, self.get_parameter(name)

    def _check_teacher(self) -> None:
        shared = {p.data_ptr() for p in self.teacher.parameters()} & {
            p.data_ptr() for part in (self.backbone, self.neck) for p in part.parameters()
        }
        shared -= {0}  # tensors without storage, on the meta device
        if shared:
            raise ValueError(
                f"teacher and student share the storage of {len(shared)} tensors; a neck's teacher_copy() must copy"
            )

    def _count_forward(self) -> None:
        if not (self.training and torch.is_grad_enabled()):
            return
        self._since_commit += 1
        self._unmoved_at_most += 1
        if self._unmoved_at_most <= self.max_uncommitted:
            return
        # Only now, and so at most once in that many iterations, the host asks the device which steps were skipped.
        self._unmoved_at_most = int(self._unmoved_at_commit) + self._since_commit
        if self._unmoved_at_most > self.max_uncommitted:
            raise RuntimeError(
                f"the teacher was not updated during {self.max_uncommitted} training iterations, so the student would "
                "learn from random weights; add dict(type='mmrel.TeacherUpdateHook') to custom_hooks, "
                "or call model.commit(momentum, ok) after each optimiser step of your own loop (if that accumulates "
                "gradients over more iterations, set model.max_uncommitted)"
            )

    def _count_commit(self, ok: Tensor) -> None:
        """Count anew if the step was taken, on the device: the host does not wait to learn whether it was."""
        unmoved = self._unmoved_at_commit + self._since_commit
        self._unmoved_at_commit = torch.where(ok, 0, unmoved)
        self._since_commit = 0


def _check_precision(dtype: torch.dtype) -> None:
    if dtype in (torch.float16, torch.bfloat16):
        raise TypeError(
            f"the model's weights are {dtype}, in which a teacher momentum such as 0.9995 rounds to 1, so that the "
            "teacher would never move; keep the weights in float32 and set optim_wrapper.precision='bf16' or 'fp16', "
            "which computes in half precision"
        )
