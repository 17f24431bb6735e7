"""The command ``mmrel``: the tools by name, for those who installed a package and have no checkout.

``mmrel pretrain /my/photos`` is ``python tools/pretrain.py /my/photos``, with the tool that came with the package.
"""

import ast
import sys
from pathlib import Path

from mmrel.launch.tool import call_tool
from mmrel.utils.errors import UsageError, reports_usage_errors
from mmrel.version import __version__

PACKAGED = Path(__file__).resolve().parents[1] / ".mim" / "tools"
"""Where an installation keeps the tools; an editable one links to them."""
COMMANDS = {
    "pretrain": "pretrain",
    "finetune": "finetune",
    "features": "extract_features",
    "convert": "convert_checkpoint",
    "evaluate": "evaluate",
    "visualize": "visualize",
    "export-backbone": "export_backbone",
    "export-onnx": "export_onnx",
    "knn": "knn",
    "linear-probe": "linear_probe",
    "segment-frozen": "segment_frozen",
    "davis": "davis",
    "channel-statistics": "channel_statistics",
    "convert-dataset": "convert_dataset",
    "make-scenes": "make_scenes",
    "quickstart": "quickstart",
    "train": "train",
    "test": "test",
}
"""What comes behind ``mmrel``, and the tool that it starts; in the order of ``mmrel --help``."""


def summary(tool: Path) -> str:
    """The first line of a tool's text, which is not run for it."""
    text = ast.get_docstring(ast.parse(tool.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".:")


def usage() -> str:
    """What ``mmrel --help`` prints."""
    lines = [f"  {name:<20}{summary(PACKAGED / f'{tool}.py')}" for name, tool in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mmrel COMMAND [options]",
            "",
            "Self-supervised pretraining of vision transformers from relations inside images.",
            "",
            *lines,
            "",
            "mmrel COMMAND --help lists a command's options; mmrel --version prints the version.",
        ]
    )


@reports_usage_errors
def main() -> None:
    """Start the tool that the command line names.

    Raises:
        UsageError: there is no such command.
    """
    command, *rest = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print(usage())
    elif command in ("-V", "--version"):
        print(f"mmrel {__version__}")
    elif command in COMMANDS:
        tool = PACKAGED / f"{COMMANDS[command]}.py"
        sys.exit(call_tool(tool, rest, name=f"mmrel {command}"))
    else:
        raise UsageError(f"mmrel has no command {command!r}; it has {', '.join(COMMANDS)}.")
