"""The one data flow of every method, filled in by necks and heads.

    crops -> backbone -> necks -> heads -> losses

A method chooses necks and heads; it never overrides the flow. :class:`StudentTeacher` adds the second network
that most methods compare with; RelViT uses the flow as it is here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, ModuleDict
from torch import Tensor

from mmrel.models.contracts import (
    BATCH_NEEDS,
    KNOWN_NEEDS,
    Accumulating,
    Backbone,
    EpochAware,
    ImageTokenNeck,
    LossHead,
    Neck,
    Network,
    PartOrConfig,
    Parts,
    build_part,
    build_parts,
)
from mmrel.models.heads.base import weighted
from mmrel.models.widths import check_widths
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch


@MODELS.register_module()
class SelfSupervised(BaseModel):
    """A backbone, necks that read its tokens, and heads that make losses of what the necks give.

    State-dict layout: ``backbone.*``, ``neck.<name>.*``, ``head.<name>.*``.

    Args:
        backbone: a :class:`~mmrel.models.contracts.Backbone`, for instance ``mmrel.ViT``.
        neck: named :class:`necks <mmrel.models.contracts.Neck>`. One that reads a backbone without class token may
            be an :class:`~mmrel.models.contracts.ImageTokenNeck`, which makes what stands for it.
        head: named :class:`heads <mmrel.models.contracts.LossHead>`.
        data_preprocessor: ``mmrel.ViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

    local_crops: ClassVar[bool] = True
    """Whether the method can use local crops."""

    compiled_methods: ClassVar[tuple[str, ...]] = ("compare",)
    """What ``compile=True`` hands to torch.compile here, see :mod:`mmrel.engine.compilation`."""

    backbone: Backbone
    neck: Parts[Neck]
    head: Parts[LossHead]

    def __init__(
        self,
        backbone: PartOrConfig,
        neck: Mapping[str, PartOrConfig],
        head: Mapping[str, PartOrConfig],
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type="mmrel.ViewPreprocessor"), init_cfg)
        self.backbone = build_part(backbone, Backbone)
        self.neck = ModuleDict(build_parts(neck, Neck))
        self.head = ModuleDict(build_parts(head, LossHead))
        self._check_heads()
        check_widths(self.backbone, self.neck.items(), self.head.items())
        self.last_losses: dict[str, Tensor] = {}
        self.last_samples: tuple[int, ...] = ()

    def forward(
        self, inputs: Any, data_samples: list | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | Tensor:
        """MMEngine's entry.

        Args:
            inputs: a :class:`ViewBatch` (``mode='loss'``) or images ``(B, 3, H, W)`` (``mode='tensor'``).
            data_samples: unused; part of the host's calling convention.
            mode: ``'loss'`` or ``'tensor'``.

        Returns:
            Named losses and statistics, or features ``(B, C)``.
        """
        if mode == "loss":
            self.begin_forward(inputs)
            return self.loss(inputs)
        if mode == "tensor":
            return self.extract_feat(inputs)
        raise ValueError(f"mode is {mode!r}; a self-supervised model knows 'loss' and 'tensor'")

    @property
    def networks(self) -> dict[str, Network]:
        """The networks by their names; the one to evaluate comes first."""
        return {"student": Network(self.backbone, self.neck)}

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Features ``(B, C)`` for images ``(B, 3, H, W)``: class tokens or what stands for them."""
        return self.extract_tokens(inputs).image_feature

    def extract_tokens(self, images: Tensor, network: str | None = None) -> TokenViews:
        """Tokens of images, for evaluation.

        Args:
            images: ``(B, 3, H, W)``, normalised.
            network: a key of ``networks``; ``None``: the first of them.

        Returns:
            The backbone's tokens. If it has no class token, a neck that can make one fills it in.

        Raises:
            ValueError: there is no such network.
        """
        backbone, necks = self.select_network(network)
        tokens = backbone(images)
        if tokens.cls is None:
            for neck in necks.values():
                if isinstance(neck, ImageTokenNeck):
                    return replace(tokens, cls=neck.image_token(tokens))
        return tokens

    def select_network(self, network: str | None = None) -> Network:
        """The network of that name; ``None``: the one to evaluate."""
        networks = self.networks
        if network is None:
            return next(iter(networks.values()))
        if network not in networks:
            raise ValueError(
                f"network is {network!r}, which {type(self).__name__} does not have; choose "
                f"{' or '.join(map(repr, networks))}"
            )
        return networks[network]

    def begin_forward(self, views: ViewBatch) -> None:
        """The host's side of a forward pass, apart from :meth:`loss`.

        What Python remembers from one iteration to the next is kept out of what may be compiled: torch.compile
        would compile anew whenever it changes.
        """
        self.last_samples = getattr(views, "sample_indices", ())
        for head in self.head.values():
            if isinstance(head, Accumulating):
                head.settle()

    def loss(self, views: ViewBatch) -> dict[str, Tensor]:
        """Run the network once, on exactly what the heads need, and collect the heads' losses."""
        self._check_batch(views)
        return self.compare(self._student_tokens(views), None, views)

    def compare(
        self, student: NetworkTokens, teacher: NetworkTokens | None, views: ViewBatch
    ) -> dict[str, Tensor]:
        """From tokens to losses: the necks, and the heads that read them.

        Args:
            student: the student's tokens of all crops.
            teacher: the teacher's, or ``None`` where there is no teacher.
            views: the batch.

        Returns:
            Named losses, weighted, and statistics.
        """
        outputs = {name: (neck.student(student, views), None) for name, neck in self.neck.items()}
        return self._head_losses(student, outputs, views)

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As the host does; keeps the named losses for whoever checks that they are finite."""
        total, log_vars = super().parse_losses(losses)
        # The optimizer wrapper only gets the sum; for a message that names the term it needs the
        # parts.
        self.last_losses = {k: v.detach() for k, v in log_vars.items() if "loss" in k}
        return total, log_vars

    def set_epoch(self, epoch: int) -> None:
        """Tell the heads which epoch begins (counted from 0)."""
        for head in self.head.values():
            if isinstance(head, EpochAware):
                head.set_epoch(epoch)

    def _student_tokens(self, views: ViewBatch) -> NetworkTokens:
        masks = views.masks if self._needs("masks") else None
        global_tokens = self.backbone(views.student_crops, masks)
        if views.local_crops is None:
            return NetworkTokens(global_tokens)
        return NetworkTokens(global_tokens, self.backbone(views.local_crops))

    def _head_losses(
        self,
        watched: NetworkTokens,
        outputs: Mapping[str, tuple[object, object]],
        views: ViewBatch,
    ) -> dict[str, Tensor]:
        """All heads' losses, weighted, and statistics.

        Args:
            watched: tokens of the network whose features' spread is told.
            outputs: the student's and the teacher's output of each neck.
            views: the batch.
        """
        results = {"stat/feature_std": feature_std(watched.global_crops.image_feature)}
        for head in self.head.values():
            results |= weighted(head, head(*outputs[head.neck], views))
        return results

    def _needs(self, what: str) -> bool:
        return any(what in head.needs for head in self.head.values())

    def _check_heads(self) -> None:
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

    def _check_batch(self, views: ViewBatch) -> None:
        if not isinstance(views, ViewBatch):
            raise TypeError(
                f"a training batch must be a ViewBatch, got {type(views).__name__}; "
                "set data_preprocessor=dict(type='mmrel.ViewPreprocessor') and end the pipeline with mmrel.PackViews"
            )
        for need, remedy in BATCH_NEEDS.items():
            if self._needs(need) and getattr(views, need) is None:
                raise ValueError(f"a head needs {need}, but the batch has none; {remedy}")
        if views.local_crops is not None and not self.local_crops:
            raise ValueError(
                f"the batch has {views.num_local} local views, but {type(self).__name__} uses global views only; "
                "set num_local=0 in mmrel.MultiCrop"
            )


@torch.no_grad()
def feature_std(features: Tensor) -> Tensor:
    """Mean over channels of the standard deviation of L2-normalised features ``(n, C)``, times sqrt(C).

    About 1 for spread features and 0 when all images look alike (SimSiam, arXiv 2011.10566, section 4.1).
    """
    unit = F.normalize(features.float(), dim=-1)
    several = min(1, len(unit) - 1)  # one image alone has no spread: 0, not NaN
    return unit.std(dim=0, correction=several).mean() * features.shape[-1] ** 0.5
