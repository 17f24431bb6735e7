"""The key ``in_channels`` of a configuration, with ``mean``, ``std``, ``value_range`` and ``bit_depth``.

At its top level, or among ``--cfg-options``, they say what the channels of the images are, for everything that needs to
know: what decodes them, their augmentation, the data preprocessor, the backbone and a decoder of pixels.
"""

from collections.abc import Iterator
from typing import Any

from mmrel.utils.errors import UsageError

RGB = 3
DECODING = ("value_range", "bit_depth")
DECODER, JITTER, COLORS = "mmrel.DecodeImage", "mmrel.JitterChannels", "mmrel.DrawColorAugmentation"


def settle_channels(config: Any, options: dict[str, Any]) -> None:
    """Apply the keys, if there is ``in_channels``.

    Where the channels are not R, G and B, brightness and contrast of each channel by itself take the place of the
    colour jitter, of grey and of solarisation.

    Args:
        config (mmengine.Config): changed in place.
        options: what ``--cfg-options`` gave, which goes before the configuration.

    Raises:
        UsageError: the numbers of means and deviations are not that of the channels.
    """
    keys = {key: _given(key, config, options) for key in ("in_channels", "mean", "std", *DECODING)}
    channels = keys["in_channels"]
    if channels is None:
        return
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise UsageError(f"in_channels is {channels!r}; give a number from 1 on.")
    numbers = {key: _numbers(key, keys[key], channels) for key in ("mean", "std")}
    decoding = {key: keys[key] for key in DECODING if keys[key] is not None}
    for node in [node for name in config for node in _nodes(config[name])]:
        if isinstance(node, list):
            _settle_pipeline(node, channels)
        else:
            _settle_dict(node, channels, numbers, decoding)


def _given(key: str, config: Any, options: dict[str, Any]) -> Any:
    return options.get(key, config.get(key))


def _numbers(key: str, value: Any, channels: int) -> list[float] | None:
    """One number for each channel; ``None`` leaves those of R, G and B."""
    if value is None and channels == RGB:
        return None
    found = list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
    if len(found) != channels or not all(isinstance(number, int | float) for number in found):
        raise UsageError(
            f"in_channels is {channels} and {key} is {value}; give {channels} numbers on the 0-255 scale, "
            f"{key}='[...]'. `python tools/channel_statistics.py DATA --in-channels {channels}` computes them."
        )
    return found


def _settle_dict(
    node: dict[str, Any],
    channels: int,
    numbers: dict[str, list[float] | None],
    decoding: dict[str, Any],
) -> None:
    kind = str(node.get("type"))
    if kind == DECODER:
        node.update(in_channels=channels, **decoding)
    elif kind == "mmrel.PixelDecoder":
        node["out_channels"] = channels
    elif kind.endswith("Preprocessor") and "mean" in node:
        node.update({key: value for key, value in numbers.items() if value is not None})
    if channels != RGB and isinstance(node.get("backbone"), dict):
        node["backbone"]["in_channels"] = channels


def _settle_pipeline(steps: list[Any], channels: int) -> None:
    """Channels by themselves instead of colours."""
    kinds = [step.get("type") if isinstance(step, dict) else None for step in steps]
    if channels == RGB or DECODER not in kinds:
        return
    if "ResizeEdge" in kinds and steps[kinds.index("ResizeEdge")].get("backend") == "pillow":
        steps[kinds.index("ResizeEdge")]["backend"] = "cv2"  # mmcv gives Pillow colours alone
    if COLORS not in kinds or JITTER in kinds:
        return
    colors = steps[kinds.index(COLORS)]
    brightness, contrast = list(colors.get("jitter", (0.4, 0.4)))[:2]
    chance = colors.get("jitter_prob", 0.8)
    prob = max(chance) if isinstance(chance, list | tuple) else chance
    colors.update(jitter=(0, 0, 0, 0), grayscale_prob=0.0, solarize_prob=0.0)
    jitter = dict(type=JITTER, brightness=brightness, contrast=contrast, prob=prob)
    steps.insert(kinds.index(COLORS), jitter)


def _nodes(node: Any) -> Iterator[Any]:
    """All dicts and lists inside, and the node itself."""
    if isinstance(node, dict):
        yield node
        children = list(node.values())
    elif isinstance(node, list):
        yield node
        children = list(node)
    else:
        children = list(node) if isinstance(node, tuple) else []
    for child in children:
        yield from _nodes(child)
