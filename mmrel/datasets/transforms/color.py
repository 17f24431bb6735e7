"""Drawing the colour augmentation of every view; it is carried out later, on the device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.ops.color_table import JITTER_ORDERS, NEUTRAL_ROW, ColorColumn
from mmrel.registry import TRANSFORMS
from mmrel.structures import SampleKey

DRAWS_PER_VIEW = 10
ORDER, GRAYSCALE, BLUR_SIGMA, SOLARIZE = (int(column) for column in list(ColorColumn)[4:])
PerKind = float | Sequence[float]


@TRANSFORMS.register_module()
class DrawColorAugmentation(BaseTransform):
    """Draw one row of colour parameters per view, as DINO does (arXiv 2104.14294).

    Adds ``color``: float32 ``(V+L, 8)``, see :class:`mmrel.ops.color_table.ColorColumn`. Chances
    may differ by kind of view: give one number for all, or three for (first global view, other
    global views, local views).

    Args:
        jitter: strength of brightness, contrast, saturation and hue: factors from U(max(0, 1 - s),
            1 + s), the hue shift from U(-s, s), in a random order, as torchvision's
            ``ColorJitter``.
        jitter_prob: chance of the jitter.
        grayscale_prob: chance of turning grey.
        blur_prob: chance of a Gaussian blur.
        blur_sigma: range of its standard deviation in pixels (``radius`` in the papers' codes).
        solarize_prob: chance of solarisation.
        solarize_threshold: on the 0-255 scale.
    """

    def __init__(
        self,
        jitter: Sequence[float] = (0.4, 0.4, 0.2, 0.1),
        jitter_prob: PerKind = 0.8,
        grayscale_prob: PerKind = 0.2,
        blur_prob: PerKind = (1.0, 0.1, 0.5),
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        solarize_prob: PerKind = (0.0, 0.2, 0.0),
        solarize_threshold: float = 128.0,
    ) -> None:
        if len(jitter) != 4 or min(jitter) < 0 or jitter[3] > 0.5:
            raise ValueError(
                f"jitter is {tuple(jitter)}; give four strengths >= 0 (brightness, contrast, "
                "saturation, hue), the hue's at most 0.5"
            )
        if not 0 < blur_sigma[0] <= blur_sigma[1]:
            raise ValueError(
                f"blur_sigma is {tuple(blur_sigma)}; give (low, high) in pixels with 0 < low <= "
                "high"
            )
        self.low = [*(max(0.0, 1 - s) for s in jitter[:3]), -jitter[3]]
        self.high = [*(1 + s for s in jitter[:3]), jitter[3]]
        self.spans = [high - low for low, high in zip(self.low, self.high, strict=True)]
        self.jitter_prob = _per_kind("jitter_prob", jitter_prob)
        self.grayscale_prob = _per_kind("grayscale_prob", grayscale_prob)
        self.blur_prob = _per_kind("blur_prob", blur_prob)
        self.blur_sigma = blur_sigma
        self.solarize_prob = _per_kind("solarize_prob", solarize_prob)
        self.solarize_threshold = solarize_threshold

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``color``."""
        results["color"] = self.draw(results["key"], results["num_global"], len(results["views"]))
        return results

    def draw(self, key: SampleKey, num_global: int, num_views: int) -> NDArray[np.float32]:
        """The table ``(num_views, 8)`` that this key gives."""
        uniform = sample_generator(key, Purpose.COLOR).random((num_views, DRAWS_PER_VIEW))
        rows = [
            self._row(row, kind=0 if view == 0 else 1 if view < num_global else 2)
            for view, row in enumerate(uniform.tolist())
        ]
        return np.array(rows, dtype=np.float32)

    def _row(self, uniform: list[float], kind: int) -> list[float]:
        """One row of the table from ten numbers in [0, 1)."""
        row = list(NEUTRAL_ROW)
        if uniform[0] < self.jitter_prob[kind]:
            row[:4] = [
                low + span * u
                for low, span, u in zip(self.low, self.spans, uniform[1:5], strict=True)
            ]
        row[ORDER] = float(int(uniform[5] * len(JITTER_ORDERS)))
        row[GRAYSCALE] = float(uniform[6] < self.grayscale_prob[kind])
        if uniform[7] < self.blur_prob[kind]:
            low, high = self.blur_sigma
            row[BLUR_SIGMA] = low + (high - low) * uniform[8]
        if uniform[9] < self.solarize_prob[kind]:
            row[SOLARIZE] = self.solarize_threshold
        return row

    def __repr__(self) -> str:
        return f"{type(self).__name__}(low={self.low}, high={self.high})"


def _per_kind(name: str, chances: PerKind) -> tuple[float, ...]:
    values = (chances,) * 3 if isinstance(chances, (int, float)) else tuple(chances)
    if len(values) != 3 or min(values) < 0 or max(values) > 1:
        raise ValueError(
            f"{name} is {chances}; give one chance in [0, 1], or three for (first global view, "
            "other global views, local views)"
        )
    return values
