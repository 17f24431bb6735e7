"""Write OpenMMLab's model index, model-index.yml and configs/*/metafile.yml, from the configurations.

    python tools/model_index.py            # after adding, renaming or changing a recipe
    python tools/model_index.py --check    # write nothing, fail if a file is out of date

What no configuration says (papers, published figures) stands in configs/papers.yml. Recipes of mmdet and mmseg are
read with their hosts, which must be installed.
"""

import argparse
from pathlib import Path

from mmrel.utils.errors import reports_usage_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the model index from the configurations.")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).resolve().parents[1],
        help="the folder with configs (default: this checkout)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file is out of date"
    )
    return parser.parse_args()


@reports_usage_errors
def main() -> None:
    """Write the files, or compare them."""
    args = parse_args()
    from mmrel.apis.recipe_index import check_index, write_index

    if args.check:
        check_index(args.root)
        print("the model index is up to date")
        return
    changed = write_index(args.root)
    names = ", ".join(str(path.relative_to(args.root)) for path in changed)
    print(f"written: {names}" if changed else "the model index was up to date")


if __name__ == "__main__":
    main()
