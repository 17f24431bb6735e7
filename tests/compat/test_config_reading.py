"""Configurations of other packages are found, and equal ones formatted, without needless work."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from yapf.yapflib.yapf_api import FormatCode

import mmrel  # noqa: F401 - installs the bridges

DETECTION = Path(__file__).parents[2] / "configs/detection/mask-rcnn_vit-tiny-p8_scenes.py"


def refuse(*args: object) -> None:
    raise AssertionError(f"not needed for {args}")


def test_bases__of_other_packages_are_found_without_their_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("mmdet")
    monkeypatch.setattr("mmengine.config.utils._get_cfg_metainfo", refuse)
    assert Config.fromfile(str(DETECTION)).model.type == "MaskRCNN"


def test_models__of_other_packages_are_found_by_their_index(tmp_path: Path) -> None:
    """The index says the folder, which the name may leave out."""
    file = tmp_path / "c.py"
    file.write_text("_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'\n")
    assert Config.fromfile(str(file)).model.type == "ImageClassifier"
    file.write_text("_base_ = 'mmpretrain::_base_/no_such.py'\n")
    with pytest.raises(FileNotFoundError, match="no_such"):
        Config.fromfile(str(file))


def test_text__is_formatted_again_only_if_the_content_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return FormatCode(*args, **kwargs)

    # MMEngine imports it where it formats or, in OpenMMLab's own package, once at the top of the module.
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", count)
    monkeypatch.setattr("mmengine.config.config.FormatCode", count, raising=False)
    config = Config(dict(model=dict(type="counted", sizes=[1, 2]), names=("a",)))
    text = config.pretty_text
    assert text.startswith("model = dict(") and "2,\n" in text and "3,\n" not in text
    assert Config(config.to_dict()).pretty_text == text and len(calls) == 1
    config.model.sizes.append(3)
    assert "3,\n" in config.pretty_text and len(calls) == 2
