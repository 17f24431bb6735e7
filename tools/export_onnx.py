"""Write a backbone's features as an ONNX file, and compare it with torch.

    python tools/export_onnx.py work_dirs/sere/epoch_100.pth sere.onnx
    python tools/export_onnx.py dinov2-small/ dinov2.onnx --feature cls map --image-size 518 --dynamic all
    python tools/export_onnx.py backbone.pth backbone.onnx --input uint8 --image-size 160 240

The first argument is what ``mmrel.apis.get_backbone`` takes: a checkpoint of mmrel or of another project, or a Hugging
Face folder. The file takes ``images`` (B, 3, H, W), RGB, resized before, floats from 0 to 1 unless ``--input`` says
otherwise, and normalises them itself. It is written only if onnxruntime gives torch's numbers, for two batch sizes and,
with ``--dynamic all``, two image sizes. Needs onnx and onnxruntime (``pip install onnx onnxruntime``).
"""

import argparse
from pathlib import Path

from mmrel.launch.arguments import (
    add_blocks,
    add_checkpoint,
    add_image_size,
    image_size_of,
    positive,
    weights_of,
)
from mmrel.utils import UsageError
from mmrel.utils.errors import reports_usage_errors

FEATURES = ("cls", "avg", "cls+avg", "map")


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Write a backbone's features as an ONNX file, checked with onnxruntime."
    )
    parser.add_argument("backbone", help="a checkpoint, or a Hugging Face folder")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument(
        "--feature",
        nargs="+",
        choices=FEATURES,
        help="outputs: class token, mean patch token, both, patch tokens as a map (default: cls, or avg without "
        "class token)",
    )
    add_blocks(parser)
    add_image_size(parser, "side of the images, or height and width")
    parser.add_argument(
        "--dynamic",
        choices=("none", "batch", "all"),
        default="batch",
        help="which sizes stay free: none, the batch (default), or batch, height and width",
    )
    parser.add_argument(
        "--input",
        choices=("float", "uint8", "normalised"),
        default="float",
        help="images as floats from 0 to 1 (default), as bytes, or normalised before",
    )
    parser.add_argument("--opset", type=positive, default=17, help="of ONNX (default: 17)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest difference from torch, as a share of the largest number (default: 1e-4)",
    )
    add_checkpoint(parser)
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> str:
    """Write, compare, and return a summary."""
    from mmrel.apis.extractor import feature_extractor
    from mmrel.apis.onnx_file import output_names, require_onnx, write_onnx
    from mmrel.launch.safe_loading import load_safely

    require_onnx()
    size = image_size_of(args)
    if args.out.is_dir():
        raise UsageError(f"{args.out} is a folder; give the name of the file to write")
    sides = (size, size) if isinstance(size, int) else size
    load_safely()
    try:
        extractor = feature_extractor(
            args.backbone,
            args.feature,
            normalise=args.input != "normalised",
            out_indices=args.out_indices,
            out_norm=False if args.no_norm else None,
            **weights_of(args),
        )
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    print(f"writing {args.out}, and comparing it with torch ...", flush=True)
    found = write_onnx(
        extractor, args.out, sides, args.dynamic, args.input, args.opset, args.tolerance
    )
    lines = [
        f"{args.out}: images -> {', '.join(output_names(extractor))}; "
        f"{args.out.stat().st_size / 2**20:.1f} MiB, opset {args.opset}"
    ]
    lines += [
        f"  {' x '.join(map(str, c.shape))}: largest difference from torch {c.difference:.1e} (numbers up to "
        f"{c.largest:.3g})"
        for c in found
    ]
    return "\n".join(lines)


@reports_usage_errors
def main() -> None:
    """Command line."""
    print(run(parse_args()))


if __name__ == "__main__":
    main()
