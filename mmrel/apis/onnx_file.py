"""A feature extractor as an ONNX file, compared with torch before it gets its name.

Written by torch's exporter of traced graphs (``torch.onnx.export(..., dynamo=False)``), which torch 2.1 to 2.14 have
and which needs the package onnx alone.
"""

import inspect
import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmrel.apis.extractor import MAP, FeatureExtractor
from mmrel.utils.errors import UsageError
from mmrel.utils.files import publish
from mmrel.version import __version__

INPUT = "images"
INPUTS = ("float", "uint8", "normalised")
"""Images as floats from 0 to 1, as bytes, or normalised outside."""
DYNAMIC = ("none", "batch", "all")
"""Which sizes of the images stay free: none, the batch, or batch, height and width."""
OPSET = 17
BATCHES = (1, 3)
"""Batch sizes of the comparison; the graph is traced with 2."""
MAX_BYTES = 2**31 - 2**24
"""Of one protobuf file, with room for the graph."""


@dataclass(frozen=True)
class Comparison:
    """One batch through both.

    Attributes:
        shape: of the images.
        difference: the largest one between torch's numbers and onnxruntime's.
        largest: the largest number, by its magnitude.
    """

    shape: tuple[int, ...]
    difference: float
    largest: float


def write_onnx(
    extractor: FeatureExtractor,
    output: Path,
    size: tuple[int, int] = (224, 224),
    dynamic: str = "batch",
    inputs: str = "float",
    opset: int = OPSET,
    tolerance: float = 1e-4,
) -> list[Comparison]:
    """Write a feature extractor as ONNX, and compare onnxruntime's results with torch's on random images.

    Args:
        extractor: on the CPU.
        output: the file to write; it appears only after the comparison.
        size: (height, width) in pixels, multiples of the patch size.
        dynamic: one of ``DYNAMIC``.
        inputs: one of ``INPUTS``; ``'normalised'`` goes with an extractor of ``normalise=False``, and with no other.
        opset: of ONNX.
        tolerance: largest difference that is allowed, as a share of the largest number (or of 1, where that is less).

    Returns:
        The comparisons: two batch sizes where the batch is free, and another image size where that is free too.

    Raises:
        UsageError: onnx or onnxruntime is not installed, the size is no multiple of the patch size, the network is too
            large for one file, or the results differ by more than is allowed.
    """
    require_onnx()
    _check(extractor, size, inputs)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        unfinished = Path(folder) / output.name
        _export(extractor, unfinished, _images(extractor, 2, size, inputs), dynamic, opset)
        _describe(extractor, unfinished, size, dynamic, inputs)
        found = [
            _compared(extractor, unfinished, i) for i in _cases(extractor, size, dynamic, inputs)
        ]
        if wrong := [c for c in found if not c.difference <= tolerance * max(1.0, c.largest)]:
            raise UsageError(
                f"{output} was not written: onnxruntime's results differ from torch's by up to "
                f"{max(c.difference for c in wrong):.2g} (numbers up to {max(c.largest for c in wrong):.3g}; allowed "
                f"is a share of {tolerance:g}). Give another --opset, or a larger --tolerance if that is enough."
            )
        publish(unfinished, output)
    return found


def require_onnx() -> None:
    """Raise :class:`UsageError` unless onnx and onnxruntime are installed."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} is not installed, which writing or checking ONNX needs. Install it with "
            "`pip install onnx onnxruntime` (mmrel's extra export)."
        )


def output_names(extractor: FeatureExtractor) -> list[str]:
    """What the outputs are called in the file: ``cls``, ``avg``, ``cls_avg``, ``map``."""
    return [kind.replace("+", "_") for kind in extractor.features]


def _check(extractor: FeatureExtractor, size: tuple[int, int], inputs: str) -> None:
    if extractor.normalise is (inputs == "normalised"):
        raise UsageError(
            f"inputs is {inputs!r}, but the extractor has normalise={extractor.normalise}; images come normalised "
            "where it is False, and only there."
        )
    if any(side < 1 or side % extractor.patch_size for side in size):
        near = max(1, round(min(size) / extractor.patch_size)) * extractor.patch_size
        raise UsageError(
            f"an image of {size[0]} x {size[1]} pixels is no whole number of patches of {extractor.patch_size}; give "
            f"multiples of that, such as {near}"
        )
    needed = sum(p.numel() * p.element_size() for p in extractor.state_dict().values())
    if needed > MAX_BYTES:
        raise UsageError(
            f"the network has {needed / 2**30:.1f} GiB of weights, more than the 2 GiB of one ONNX file. Use "
            "torch.export with mmrel.apis.feature_extractor instead."
        )


def _export(
    extractor: FeatureExtractor, path: Path, images: Tensor, dynamic: str, opset: int
) -> None:
    names = output_names(extractor)
    free = {"none": {}, "batch": {0: "batch"}, "all": {0: "batch", 2: "height", 3: "width"}}[
        dynamic
    ]
    axes = {name: {k: v for k, v in free.items() if k == 0} for name in names} | {INPUT: free}
    if dynamic == "all" and MAP in names:
        axes[MAP] = {0: "batch", 2: "rows", 3: "cols"}
    # Before torch 2.5 there was no choice.
    options: dict[str, Any] = (
        {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what will replace this exporter, and of its tracing
        torch.onnx.export(
            extractor,
            (images,),
            str(path),
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={name: value for name, value in axes.items() if value},
            opset_version=opset,
            **options,
        )


def _describe(
    extractor: FeatureExtractor, path: Path, size: tuple[int, int], dynamic: str, inputs: str
) -> None:
    """Put into the file what its user must know, and check its form."""
    import onnx

    model = onnx.load(str(path))
    told: dict[str, Any] = {
        "mmrel": __version__,
        "inputs": {
            "float": "RGB, floats from 0 to 1",
            "uint8": "RGB, bytes from 0 to 255",
            "normalised": "RGB, normalised with mean and std (0-255 scale)",
        }[inputs],
        "image_size": list(size),
        "dynamic": dynamic,
        "patch_size": extractor.patch_size,
        "blocks": list(extractor.blocks),
        "norm": extractor.norm,
        "mean": extractor.mean.flatten().tolist(),
        "std": extractor.std.flatten().tolist(),
        "source": extractor.backbone.provenance or "",
    }
    for key, value in told.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _cases(
    extractor: FeatureExtractor, size: tuple[int, int], dynamic: str, inputs: str
) -> Iterator[Tensor]:
    for batch in (2,) if dynamic == "none" else BATCHES:
        yield _images(extractor, batch, size, inputs)
    if dynamic == "all":
        patch = extractor.patch_size
        yield _images(extractor, 2, (size[0] + patch, size[1] + 3 * patch), inputs)


def _images(extractor: FeatureExtractor, batch: int, size: tuple[int, int], inputs: str) -> Tensor:
    channels = extractor.backbone.patch_embed.projection.in_channels
    drawn = torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(batch))
    if inputs == "uint8":
        return (drawn * 255).to(torch.uint8)
    return drawn * 4 - 2 if inputs == "normalised" else drawn


def _compared(extractor: FeatureExtractor, path: Path, images: Tensor) -> Comparison:
    with torch.no_grad():
        outputs = extractor(images)
    wanted = (outputs,) if isinstance(outputs, Tensor) else outputs
    found = _session(path).run(None, {INPUT: images.numpy()})
    pairs = [(torch.from_numpy(a), b) for a, b in zip(found, wanted, strict=True)]
    difference = max(float((a - b).abs().max()) for a, b in pairs)
    return Comparison(tuple(images.shape), difference, max(float(b.abs().max()) for _, b in pairs))


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
