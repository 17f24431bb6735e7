"""Linear probing: many linear classifiers on the features of one frozen backbone, trained in one pass over the data.

The protocols of DINO (arXiv 2104.14294), iBOT (arXiv 2111.07832), DINOv2 (arXiv 2304.07193) and MAE (arXiv 2111.06377)
differ in the feature, the rates and the norm before the classifier; all of them are settings here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn import functional

from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import intermediate_tokens
from mmrel.models.contracts import PartOrConfig
from mmrel.registry import MODELS
from mmrel.structures import TokenViews

HEAD_SETTINGS = ("lr_mult", "n_last_blocks", "avgpool")


class ProbeFeature(NamedTuple):
    """What stands for an image, with iBOT's names.

    With ``avgpool``

    - 0: the class tokens of the last ``n_last_blocks`` blocks, one after the other, the earliest first, each after the
      one final norm: ``n_last_blocks * C`` channels. DINO's ViT-S has 4 blocks; the class token alone is 1 block.
    - 1: the mean patch token of the last block after the final norm: C channels.
    - 2: as 0, then as 1: ``(n_last_blocks + 1) * C`` channels. DINO's ViT-B has 1 block; its code puts the channels of
      the two halves in turn, which a linear layer does not notice, but released heads of it would need reordering.
      DINOv2's ``avgpool=True`` is this form too, of 1 and of 4 blocks.
    """

    n_last_blocks: int = 1
    avgpool: int = 0

    @property
    def width(self) -> int:
        """Channels as a multiple of C."""
        return 1 if self.avgpool == 1 else self.n_last_blocks + self.avgpool // 2

    @property
    def title(self) -> str:
        """In words, for tables."""
        blocks = f"cls of {self.n_last_blocks} blocks" if self.n_last_blocks > 1 else "cls"
        return (blocks, "mean patch", f"{blocks} + mean patch")[self.avgpool]

    def check(self, backbone: ViT) -> None:
        """Raise ``ValueError`` where the backbone does not have this feature."""
        if self.avgpool not in (0, 1, 2):
            raise ValueError(
                f"avgpool is {self.avgpool}; choose 0 (class tokens), 1 (mean patch token) or 2 (both)"
            )
        if self.n_last_blocks < 1 or (self.avgpool == 1 and self.n_last_blocks != 1):
            raise ValueError(
                f"n_last_blocks is {self.n_last_blocks} with avgpool={self.avgpool}; give 1 or more blocks, and 1 with "
                "avgpool=1, which is the mean patch token of the last block alone"
            )
        if self.n_last_blocks > len(backbone.layers):
            raise ValueError(
                f"n_last_blocks is {self.n_last_blocks}, but the backbone has {len(backbone.layers)} blocks; give at "
                "most so many"
            )
        if self.avgpool != 1 and backbone.cls_token is None:
            raise ValueError(
                f"avgpool={self.avgpool} takes class tokens, but the backbone has none; give avgpool=1, n_last_blocks=1"
            )

    def of(self, tokens: Sequence[TokenViews]) -> Tensor:
        """The feature ``(B, width * C)``, in float32 or better.

        Args:
            tokens: of at least the last ``n_last_blocks`` blocks, the earliest first.
        """
        parts = []
        if self.avgpool != 1:
            parts += [views.class_token for views in tokens[-self.n_last_blocks :]]
        if self.avgpool:
            parts.append(tokens[-1].patches.mean(dim=1))
        joined = torch.cat(parts, dim=1)
        return joined if joined.dtype == torch.float64 else joined.float()


class LinearHead(BaseModule):
    """One linear classifier, initialised as DINO's and iBOT's: weights N(0, 0.01), biases 0.

    Args:
        in_channels: channels of the feature.
        num_classes: K.
        batch_norm: whether the feature is first normalised over the batch, without scale and shift (MAE).
    """

    def __init__(self, in_channels: int, num_classes: int, batch_norm: bool = False) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(in_channels, affine=False, eps=1e-6)
        self.norm = norm if batch_norm else nn.Identity()
        self.fc = nn.Linear(in_channels, num_classes)

    def init_weights(self) -> None:
        """Draw new weights."""
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)
        self._is_init = True

    def forward(self, features: Tensor) -> Tensor:
        """Scores ``(B, K)`` of features ``(B, in_channels)``."""
        return self.fc(self.norm(features))


@MODELS.register_module()
class LinearProbeClassifier(ImageClassifier):
    """mmpretrain's classifier whose backbone is frozen and which has several linear heads.

    The backbone is in evaluation mode, also in training, and runs once for all heads, without gradients. The loss is
    the sum of the heads' cross-entropies; as no parameter is shared, each head is trained as if it were alone. That
    holds without clipping and without dynamic loss scaling, in which one head with infinite gradients stops all others;
    so the recipes train in float32.

    Rates are set by MMEngine's own constructor::

        paramwise_cfg=dict(custom_keys={f'heads.{i}.': dict(lr_mult=rate) for i, rate in enumerate(rates)})

    ``loss`` is what is trained; ``cross_entropy_best`` is that of the best head on the batch, for the log.

    Args:
        backbone: ``mmrel.ViT``, with ``init_cfg=dict(type='Pretrained', ...)``.
        num_classes: K.
        n_last_blocks: see :class:`ProbeFeature`.
        avgpool: see there.
        heads: one dict per head, with any of these: ``lr_mult``, the rate's factor, which names the head in results and
            must be the optimizer's; ``n_last_blocks`` and ``avgpool``, where they differ from the above.
        batch_norm: as in :class:`LinearHead`, for all heads.
        selected: number of the head whose scores are ``pred_score`` and ``pred_label``, for mmpretrain's metrics and
            tools; the best one, once it is known. ``head_scores`` are those of all.
        **kwargs: as ``ImageClassifier``, without neck and head.

    Raises:
        ValueError: another backbone, or settings that do not fit.
    """

    def __init__(
        self,
        backbone: PartOrConfig,
        num_classes: int,
        n_last_blocks: int = 1,
        avgpool: int = 0,
        heads: Sequence[Mapping[str, Any]] = ({},),
        batch_norm: bool = False,
        selected: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, **kwargs)
        if not isinstance(self.backbone, ViT):
            raise ValueError(
                f"the backbone is a {type(self.backbone).__name__}; a linear probe reads the tokens of mmrel.ViT"
            )
        _check_heads(heads, selected)
        common = dict(n_last_blocks=n_last_blocks, avgpool=avgpool)
        self.kinds = [_feature_of({**common, **head}) for head in heads]
        for kind in self.kinds:
            kind.check(self.backbone)
        self.head_names = _names(heads, self.kinds)
        self.selected = selected
        channels = self.backbone.embed_dims
        self.heads = ModuleList(
            LinearHead(kind.width * channels, num_classes, batch_norm) for kind in self.kinds
        )
        self.backbone.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "LinearProbeClassifier":
        """Set the heads' mode; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def extract_feat(self, inputs: Tensor, stage: str = "neck") -> dict[ProbeFeature, Tensor]:
        """All features that the heads take, of images ``(B, 3, H, W)``, from one pass, without gradients.

        Args:
            inputs: normalised images.
            stage: there is but one.
        """
        last = max(kind.n_last_blocks for kind in self.kinds)
        with torch.no_grad():
            tokens = intermediate_tokens(self.backbone, inputs, range(-last, 0))
            return {kind: kind.of(tokens) for kind in dict.fromkeys(self.kinds)}

    def head_scores(self, inputs: Tensor) -> list[Tensor]:
        """Scores ``(B, K)`` of each head before softmax."""
        features = self.extract_feat(inputs)
        return [head(features[kind]) for head, kind in zip(self.heads, self.kinds, strict=True)]

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor"
    ) -> Any:
        """As ``ImageClassifier``; in mode ``'tensor'``, :meth:`head_scores`."""
        if mode == "tensor":
            return self.head_scores(inputs)
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """``loss`` and ``cross_entropy_best`` of one batch.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: with ``gt_label``, or with ``gt_score`` after mixup.
        """
        name = "gt_score" if "gt_score" in data_samples[0] else "gt_label"
        labels = [sample.get(name) for sample in data_samples]
        target = torch.stack(labels) if name == "gt_score" else torch.cat(labels)
        losses = torch.stack(
            [functional.cross_entropy(scores, target) for scores in self.head_scores(inputs)]
        )
        best = losses.detach().nan_to_num(nan=torch.inf).min()
        return {"loss": losses.sum(), "cross_entropy_best": best}

    def predict(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs: Any
    ) -> list[DataSample]:
        """Data samples with ``head_scores`` ``(heads, K)``, ``pred_score`` and ``pred_label``.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: to write to; ``None``: new ones.
            **kwargs: none.
        """
        scores = torch.stack(self.head_scores(inputs), dim=1).softmax(dim=-1)
        samples = [DataSample() for _ in scores] if data_samples is None else data_samples
        for sample, found in zip(samples, scores, strict=True):
            chosen = found[self.selected]
            sample.set_field(found, "head_scores")
            sample.set_field(self.head_names, "head_names", field_type="metainfo")
            sample.set_pred_score(chosen).set_pred_label(chosen.argmax(dim=0, keepdim=True))
        return samples


def _feature_of(settings: Mapping[str, Any]) -> ProbeFeature:
    return ProbeFeature(settings["n_last_blocks"], settings["avgpool"])


def _check_heads(heads: Sequence[Mapping[str, Any]], selected: int) -> None:
    if not heads or not 0 <= selected < len(heads):
        raise ValueError(
            f"there are {len(heads)} heads and selected is {selected}; give a head or more, and the number of one"
        )
    for number, head in enumerate(heads):
        unknown, factor = sorted(head.keys() - set(HEAD_SETTINGS)), head.get("lr_mult", 1.0)
        if unknown or factor <= 0:
            raise ValueError(
                f"head {number} has the settings {dict(head)}; known are {', '.join(HEAD_SETTINGS)}, and lr_mult is a "
                "factor above 0"
            )


def _names(heads: Sequence[Mapping[str, Any]], kinds: Sequence[ProbeFeature]) -> tuple[str, ...]:
    """What tells the heads apart: ``lr0.01``, ``blocks4_avgpool2_lr0.01``; with a number where that repeats."""
    several = len(set(kinds)) > 1
    names = [
        (f"blocks{kind.n_last_blocks}_avgpool{kind.avgpool}_" if several else "")
        + f"lr{head.get('lr_mult', 1.0):g}"
        for head, kind in zip(heads, kinds, strict=True)
    ]
    repeated = len(set(names)) < len(names)
    return tuple(f"{name}_{i}" if repeated else name for i, name in enumerate(names))
