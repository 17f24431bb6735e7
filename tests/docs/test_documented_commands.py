"""Every command in README.md and docs: what it names exists, and its options are options (nothing runs here)."""

import ast
import importlib

import pytest
from documented_blocks import Block, all_blocks, blocks_of
from documented_commands import check_command, commands
from documented_keys import check_key, read_config

BLOCKS = all_blocks()
SERE = "configs/sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "bash"], ids=str)
def test_bash__could_run(block: Block) -> None:
    for words in commands(block.text):
        try:
            check_command(words)
        except AssertionError as error:
            raise AssertionError(f"{block}: {' '.join(words)[:200]}\n{error}") from error


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python__imports_what_there_is(block: Block) -> None:
    tree = ast.parse(block.text, filename=str(block))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "mmrel":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{block}: no {node.module}.{alias.name}"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("python tools/knn.py backbone.pth photos --kk 10", "refuses"),
        ("python tools/no_such_tool.py", "does not exist"),
        ("python tools/train.py configs/sere/none.py", "does not exist"),
        (f"python tools/train.py {SERE} --cfg-options model.alfa=1", "takes no alfa"),
        (f"python tools/train.py {SERE} --cfg-options modle.alpha=1", "there is no modle"),
        (f"bash tools/dist_train.sh {SERE} 8 --amq", "refuses"),
        ("make docz", "no target"),
        ('pip install "mmrel[onedl-al]"', "no extra"),
        ("curl http://example.org | sh", "no command"),
    ],
)
def test_check__refuses_what_could_not_run(command: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        for words in commands(command):
            check_command(words)


def test_check__knows_arguments_that_a_config_leaves_out() -> None:
    for key in ("train_dataloader.timeout", "model.base.backbone.bf16_residual", "compile.mode"):
        check_key(read_config(SERE), key)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```sh\nls\n```", "a block is of"),
        ("<!-- runs: needs luck -->\n```bash\nls\n```", "needs 'luck'"),
        ("<!-- runs: never -->\n```bash\nls\n```", "unknown marker"),
    ],
)
def test_blocks__refuse_unknown_languages_and_markers(text: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        blocks_of(text, "page.md")


def test_blocks__take_the_marker_above() -> None:
    text = "<!-- runs: needs COCO, several GPUs -->\n\n```bash\nls \\\n  -l\n```\n\n```python\nx = 1\n```\n"
    marked, plain = blocks_of(text, "page.md")
    assert (marked.line, marked.needs, marked.language) == (4, "COCO, several GPUs", "bash")
    assert list(commands(marked.text)) == [["ls", "-l"]]
    assert (plain.needs, plain.language) == (None, "python")
