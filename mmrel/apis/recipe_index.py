"""The model index of OpenMMLab, written from the configurations: ``model-index.yml`` and a ``metafile.yml`` per folder.

MIM's search and mmpretrain's ``list_models`` read it. Both take ``Results`` for what the weights under ``Weights``
reach, so that it stays empty until such weights exist. What papers publish stands under ``Published Results``, a field
of our own that they pass over, with its source.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmrel.registry import MODELS
from mmrel.utils import register_all_modules
from mmrel.utils.algorithm import algorithm_of
from mmrel.utils.errors import UsageError
from mmrel.utils.files import write_atomically
from mmrel.utils.network_keys import settle_network

Entry = dict[str, Any]
UNLISTED = ("_base_", "evidence", "quickstart")
FIRST_DENSE = ("detection", "segmentation")
TASKS = {
    "mmpretrain": "Image Classification",
    "mmdet": "Instance Segmentation",
    "mmseg": "Semantic Segmentation",
}
HEADER = """\
# Written by `python tools/model_index.py` from the configurations and configs/papers.yml; change those.
# Parameters are the backbone's. Results would be measured by this project, and there are none yet; Published Results
# are those of the source that each names.
"""


class _Indented(yaml.SafeDumper):
    """Lists are indented below their keys, as OpenMMLab's metafiles have them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def write_index(root: Path) -> list[Path]:
    """Write the index of a checkout.

    Args:
        root: the folder with ``configs``.

    Returns:
        The files whose content is new.
    """
    changed = []
    for path, text in index_files(root).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            _write(path, text.encode())
            changed.append(path)
    return changed


def check_index(root: Path) -> None:
    """Compare the index of a checkout with its configurations.

    Raises:
        UsageError: a file is missing or not as :func:`write_index` would write it.
    """
    stale = [
        path.relative_to(root).as_posix()
        for path, text in index_files(root).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if stale:
        raise UsageError(
            f"out of date: {', '.join(stale)}. Write them with python tools/model_index.py."
        )


def index_files(root: Path) -> dict[Path, str]:
    """What the index of a checkout consists of: the text of each file by its path.

    Raises:
        UsageError: ``papers.yml`` names a configuration that is not there, or two have one name.
    """
    configs = root / "configs"
    papers = yaml.safe_load((configs / "papers.yml").read_text(encoding="utf-8"))
    files, names = {}, dict[str, str]()
    metafiles = []
    for folder in sorted(path for path in configs.iterdir() if path.is_dir()):
        recipes = [] if folder.name in UNLISTED else recipes_of(folder)
        if recipes:
            metafile = folder_index(folder, recipes, papers)
            _note_names(metafile["Models"], names)
            files[folder / "metafile.yml"] = HEADER + _text(metafile)
            metafiles.append(f"configs/{folder.name}/metafile.yml")
    _check_published(papers["Published"], configs)
    return {root / "model-index.yml": _text({"Import": metafiles}), **files}


def recipes_of(folder: Path) -> list[Path]:
    """The configurations of a folder, pretraining before what is done with its weights."""
    return [*sorted(folder.glob("*.py")), *sorted(folder.glob("benchmarks/*.py"))]


def folder_index(folder: Path, recipes: list[Path], papers: Entry) -> Entry:
    """The content of a folder's metafile.

    Args:
        folder: below ``configs``.
        recipes: its configurations.
        papers: the content of ``papers.yml``.
    """
    collections: dict[str, Entry] = {}
    models = []
    for recipe in recipes:
        config = Config.fromfile(recipe)
        settle_network(config)
        collection = _collection(folder, config, papers)
        name = collection["Name"]
        known = collections.setdefault(name, collection)
        known["Metadata"]["Training Techniques"] += [
            technique
            for technique in collection["Metadata"]["Training Techniques"]
            if technique not in known["Metadata"]["Training Techniques"]
        ]
        models.append(_model(recipe, config, name, papers))
    return {"Collections": list(collections.values()), "Models": models}


def _model(recipe: Path, config: Config, collection: str, papers: Entry) -> Entry:
    configs = next(parent for parent in recipe.parents if parent.name == "configs")
    path = recipe.relative_to(configs).with_suffix("").as_posix()
    entry: Entry = {
        "Name": model_name(recipe),
        "Metadata": {**_length(config), "Batch Size": _batch(config)},
        "In Collection": collection,
        "Results": None,
    }
    parameters = _parameters(config.model)
    entry["Metadata"] |= {} if parameters is None else {"Parameters": parameters}
    entry["Metadata"] |= {"Training Data": _data(recipe, papers), "Library": _library(config)}
    if path in papers["Published"]:
        entry["Published Results"] = [
            {"Task": TASKS[_library(config)], "Dataset": _data(recipe, papers), **published}
            for published in papers["Published"][path]
        ]
    return entry | {"Weights": None, "Config": f"configs/{path}.py"}


def model_name(recipe: Path) -> str:
    """Name of a recipe in the index, as mmpretrain forms it: what is fine-tuned says what it was pretrained by.

    ``ibot/benchmarks/vit-small-p16_8xb128-...`` is ``vit-small-p16_ibot-pre_8xb128-...``.
    """
    if recipe.parent.name != "benchmarks":
        return recipe.stem
    method = recipe.parent.parent.name
    arch, *rest = recipe.stem.split("_")
    return "_".join([arch, f"{method}-pre", *(part for part in rest if part != method)])


def _collection(folder: Path, config: Config, papers: Entry) -> Entry:
    """What a recipe belongs to: the method of its folder, or mmdet's or mmseg's network."""
    library = _library(config)
    facts = _method_facts(folder, papers) if library == "mmpretrain" else _head(config, papers)
    name = facts["Name"]
    if library != "mmpretrain":
        name += " on mmrel" + ("" if folder.name in FIRST_DENSE else f" ({folder.name})")
    entry: Entry = {
        "Name": name,
        "Metadata": {
            "No Checkpoints Are Published": "train with the recipe",
            "Training Techniques": list(facts.get("Training Techniques") or _techniques(config)),
            "Architecture": list(facts.get("Architecture", ["ViT"])),
        },
    }
    if "URL" in facts:
        entry["Paper"] = {"Title": facts["Title"], "URL": facts["URL"]}
    if (folder / "README.md").is_file():
        entry["README"] = f"configs/{folder.name}/README.md"
    code = "mmrel/models/backbones/dense_vit.py" if library != "mmpretrain" else facts.get("Code")
    return entry | ({"Code": {"URL": code}} if code else {})


def _method_facts(folder: Path, papers: Entry) -> Entry:
    """Of ``papers.yml`` or, for a folder that is new there, of the first lines of its README."""
    if folder.name in papers["Folders"]:
        return dict(papers["Folders"][folder.name])
    readme = folder / "README.md"
    lines = readme.read_text(encoding="utf-8").splitlines() if readme.is_file() else []
    facts = {"Name": next((line[2:] for line in lines if line.startswith("# ")), folder.name)}
    for line in lines:
        title, link, rest = line.partition("](http")
        if link and title.startswith("["):
            return facts | {"Title": title[1:], "URL": "http" + rest.partition(")")[0]}
    return facts


def _head(config: Config, papers: Entry) -> Entry:
    head = config.model.get("decode_head") or config.model
    name = (head[0] if isinstance(head, list) else head).type.rpartition(".")[2]
    return dict(papers["Heads"].get(name, {"Name": name}))


def _techniques(config: Config) -> list[str]:
    wrapper = config.optim_wrapper
    decayed = "layer_decay_rate" in (wrapper.get("paramwise_cfg") or {})
    return [wrapper.optimizer.type, *(["Layer-wise learning-rate decay"] if decayed else [])]


def _library(config: Config) -> str:
    return str(config.get("default_scope") or "mmpretrain")


def _length(config: Config) -> Entry:
    loop = config.train_cfg
    if loop.get("max_epochs") is not None:
        return {"Epochs": loop.max_epochs}
    return {"Iterations": loop.max_iters}


def _batch(config: Config) -> int:
    scale = config.get("auto_scale_lr") or {}
    return int(scale.get("base_batch_size") or config.train_dataloader.batch_size)


def _data(recipe: Path, papers: Entry) -> str:
    """What the last part of the name stands for: ``ade20k-512x512`` for ADE20K."""
    whole = known = recipe.stem.rpartition("_")[2]
    while known and known not in papers["Data"]:
        known = known.rpartition("-")[0]
    return str(papers["Data"].get(known, whole))


def _parameters(model: Entry) -> int | None:
    """Numbers in the backbone, without a mask token; ``None`` where the model has no backbone of its own."""
    backbone = algorithm_of(model).get("backbone")
    if not isinstance(backbone, dict):
        return None
    settings = {k: v for k, v in backbone.items() if k not in ("mask_token", "init_cfg")}
    return _count(json.dumps(settings, sort_keys=True))


@cache
def _count(backbone: str) -> int:
    import torch

    register_all_modules()
    settings = json.loads(backbone)
    # mmpretrain's Swin reads numbers from tensors while it is built, which have to be real for that.
    device = torch.device("cpu" if settings["type"].endswith("Swin") else "meta")
    with device, DefaultScope.overwrite_default_scope("mmpretrain"):
        built: Any = MODELS.build(settings)
    return sum(parameter.numel() for parameter in built.parameters())


def _note_names(models: list[Entry], names: dict[str, str]) -> None:
    for model in models:
        name = model["Name"].lower()
        if name in names:
            raise UsageError(
                f"{model['Config']} and {names[name]} would both be {name!r} in the model index. Rename one file."
            )
        names[name] = model["Config"]


def _check_published(published: Entry, configs: Path) -> None:
    if absent := sorted(path for path in published if not (configs / f"{path}.py").is_file()):
        raise UsageError(
            f"configs/papers.yml has figures of {', '.join(absent)}, which is not there. Name a configuration by its "
            "path below configs, without its ending."
        )
    for path, figures in published.items():
        if not all(figure.get("Source") and figure.get("Metrics") for figure in figures):
            raise UsageError(
                f"configs/papers.yml: a figure of {path} lacks Metrics or Source. Say where it was published."
            )


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))


def _text(content: Entry) -> str:
    dumped = yaml.dump(content, Dumper=_Indented, sort_keys=False, width=120, allow_unicode=True)
    return str(dumped)
