"""Write the bundled data set of annotated scenes.

Example:
    python tools/make_scenes.py data/scenes --num-train 2000 --num-val 500
"""

import argparse

from mmrel.datasets.scenes import LAYOUTS, make_scenes


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the bundled data set of annotated scenes.")
    parser.add_argument("root", help="folder to write; one sub-folder per layout")
    parser.add_argument("--num-train", type=int, default=2000, help="training images per layout")
    parser.add_argument("--num-val", type=int, default=500, help="validation images per layout")
    parser.add_argument("--image-size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument(
        "--class-image-size", type=int, default=96, help="the same for the class folders"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=LAYOUTS)
    parser.add_argument("--workers", type=int, default=None, help="processes; default: all cores")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace layouts that were made otherwise"
    )
    return parser.parse_args()


def main() -> None:
    """Write the scenes and print what was written; errors about arguments end with code 2."""
    args = parse_args()
    try:
        print(make_scenes(**vars(args)))
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        raise SystemExit(f"make_scenes: error: {error}") from error


if __name__ == "__main__":
    main()
