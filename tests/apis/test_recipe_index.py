"""The model index is what its generator writes; new folders find a place in it; figures of papers are never results."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrel.apis.recipe_index import index_files, model_name, write_index
from mmrel.compat.model_index import add_recipes
from mmrel.utils.errors import UsageError

ROOT = Path(__file__).parents[2]
HOSTLESS = """
default_scope = {scope!r}
model = {model}
optim_wrapper = dict(optimizer=dict(type="AdamW"), paramwise_cfg=dict(layer_decay_rate=0.8))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=40)
train_dataloader = dict(batch_size=6)
"""
BACKBONE = dict(
    type="mmrel.ViT",
    arch=dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8),
    img_size=16,
    patch_size=8,
    mask_token=True,
)
PARAMETERS = 3 * 64 * 8 + 8 + 5 * 8 + 8 + 3 * 16 + 8 * 24 + 24 + 8 * 8 + 8 + 2 * (8 * 8 + 8)


@pytest.fixture(scope="module")
def files() -> dict[Path, str]:
    """The whole index, from all configurations."""
    pytest.importorskip("mmdet")
    pytest.importorskip("mmseg")
    return index_files(ROOT)


def models_of(files: dict[Path, str]) -> list[dict]:
    return [m for text in files.values() for m in yaml.safe_load(text).get("Models", [])]


def test_index__committed_files_are_those_written(files: dict[Path, str]) -> None:
    present = {*ROOT.glob("configs/*/metafile.yml"), ROOT / "model-index.yml"}
    assert files.keys() == present, "run python tools/model_index.py"
    for path, text in files.items():
        assert path.read_text() == text, f"{path}: run python tools/model_index.py"


def test_index__has_every_recipe_once(files: dict[Path, str]) -> None:
    listed = [model["Config"] for model in models_of(files)]
    recipes = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("configs/*/**/*.py")
        if not {"_base_", "evidence", "quickstart"} & set(path.parts)
    }
    assert set(listed) == recipes and len(listed) == len(recipes)


def test_index__figures_of_papers_are_no_results(files: dict[Path, str]) -> None:
    """mmpretrain and MIM read Results and Weights as what this project offers; each figure names its source."""
    for model in models_of(files):
        assert model["Results"] is None and model["Weights"] is None
        for published in model.get("Published Results", []):
            assert published.keys() == {"Task", "Dataset", "Metrics", "Source"}
            assert "README" in published["Source"] or "arXiv" in published["Source"]


def test_index__figures_are_those_of_the_recipes(files: dict[Path, str]) -> None:
    """A figure in the index also stands in the header of its configuration, under Expected."""
    for model in models_of(files):
        expected = (ROOT / model["Config"]).read_text().partition("Expected:")[2]
        for published in model.get("Published Results", []):
            for name, value in published["Metrics"].items():
                assert f"{value}" in expected, f"{model['Config']}: {name} {value}"


def test_index__mmpretrain_reads_it() -> None:
    """Under unique names, without what mmdet and mmseg have."""
    models: dict[str, Any] = {}
    add_recipes(models)
    assert "vit-small-p16_ibot-pre_8xb128-amp-coslr-200e_in1k" in models
    assert models["vit-small-p16_sere-pre_8xb128-gap-amp-coslr-100e_in1k"].results is None
    assert not [name for name in models if "rcnn" in name or "upernet" in name]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ibot/ibot_vit-small-p16_x_in1k.py", "ibot_vit-small-p16_x_in1k"),
        ("ibot/benchmarks/vit-base-p16_x_in1k.py", "vit-base-p16_ibot-pre_x_in1k"),
        ("sit/benchmarks/vit-tiny-p8_sit_scenes.py", "vit-tiny-p8_sit-pre_scenes"),
    ],
)
def test_model_name__as_mmpretrain_forms_it(path: str, name: str) -> None:
    assert model_name(Path("configs") / path) == name


def make_root(root: Path, published: dict | None = None) -> Path:
    """A checkout with a new method, and a new folder for mmseg, that papers.yml does not know."""
    for folder, name, scope, model in (
        ("novel", "novel_vit-small-p16_8xb8_in1k", "mmpretrain", dict(backbone=BACKBONE)),
        ("novel/benchmarks", "vit-small-p16_8xb8_moons", "mmpretrain", dict(backbone=BACKBONE)),
        ("voc", "vit_fcn_voc12-512x512", "mmseg", dict(decode_head=dict(type="mmseg.FCNHead"))),
        ("voc", "vit_odd_voc12-512x512", "mmseg", dict(decode_head=dict(type="OddHead"))),
        ("_base_", "no_in1k", "mmpretrain", dict()),
    ):
        path = root / "configs" / folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HOSTLESS.format(scope=scope, model=model))
    readme = "# Novel\n\n[A new method](https://arxiv.org/abs/1) and [another](https://b.org).\n"
    (root / "configs" / "novel" / "README.md").write_text(readme)
    papers = yaml.safe_load((ROOT / "configs" / "papers.yml").read_text())
    papers["Published"] = published or {}
    (root / "configs" / "papers.yml").write_text(yaml.safe_dump(papers))
    return root


def test_write_index__a_new_folder_finds_its_place(tmp_path: Path) -> None:
    key = "novel/novel_vit-small-p16_8xb8_in1k"
    figures = {key: [{"Metrics": {"Top 1 Accuracy": 1.5}, "Source": "README of x/y"}]}
    root = make_root(tmp_path, figures)
    written = {path.relative_to(root).as_posix() for path in write_index(root)}
    assert written == {"model-index.yml", "configs/novel/metafile.yml", "configs/voc/metafile.yml"}
    novel = yaml.safe_load((root / "configs/novel/metafile.yml").read_text())
    (collection,) = novel["Collections"]
    assert collection["Name"] == "Novel"
    assert collection["Paper"] == dict(Title="A new method", URL="https://arxiv.org/abs/1")
    assert collection["README"] == "configs/novel/README.md" and "Code" not in collection
    pretraining, finetuning = novel["Models"]
    assert pretraining["Metadata"] == {
        "Iterations": 40,
        "Batch Size": 6,
        "Parameters": PARAMETERS,
        "Training Data": "ImageNet-1k",
        "Library": "mmpretrain",
    }
    (found,) = pretraining["Published Results"]
    assert found == dict(Task="Image Classification", Dataset="ImageNet-1k", **figures[key][0])
    assert finetuning["Name"] == "vit-small-p16_novel-pre_8xb8_moons"
    assert finetuning["Metadata"]["Training Data"] == "moons"
    voc = yaml.safe_load((root / "configs/voc/metafile.yml").read_text())
    assert [c["Name"] for c in voc["Collections"]] == [
        "FCN on mmrel (voc)",
        "OddHead on mmrel (voc)",
    ]
    techniques = voc["Collections"][0]["Metadata"]["Training Techniques"]
    assert techniques == ["AdamW", "Layer-wise learning-rate decay"]
    assert "README" not in voc["Collections"][0]
    assert voc["Models"][0]["Metadata"]["Training Data"] == "PASCAL VOC 2012"
    assert write_index(root) == []


def run_tool(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["model_index.py", *arguments])
    runpy.run_path(str(ROOT / "tools" / "model_index.py"), run_name="__main__")


def test_tool__checks_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_root(tmp_path)
    run_tool(monkeypatch, "--root", str(root))
    run_tool(monkeypatch, "--root", str(root), "--check")
    assert capsys.readouterr().out == (
        "written: model-index.yml, configs/novel/metafile.yml, configs/voc/metafile.yml\n"
        "the model index is up to date\n"
    )
    (root / "configs" / "voc" / "metafile.yml").write_text("old")
    with pytest.raises(SystemExit, match="2"):
        run_tool(monkeypatch, "--root", str(root), "--check")
    message = "out of date: configs/voc/metafile.yml. Write them with python tools/model_index.py."
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"novel/gone": [{"Metrics": {"AP": 1.0}, "Source": "x"}]}, "novel/gone, which is not"),
        (
            {"novel/novel_vit-small-p16_8xb8_in1k": [{"Metrics": {"AP": 1.0}}]},
            "lacks Metrics or Source",
        ),
    ],
)
def test_index__refuses_figures_without_place_or_source(
    figures: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        index_files(make_root(tmp_path, figures))


def test_index__refuses_one_name_for_two(tmp_path: Path) -> None:
    root = make_root(tmp_path)
    twin = root / "configs" / "other" / "vit_fcn_voc12-512x512.py"
    twin.parent.mkdir()
    twin.write_text((root / "configs" / "voc" / twin.name).read_text())
    with pytest.raises(UsageError, match=r"configs/voc/.* and configs/other/.* would both be"):
        index_files(root)
