"""mmrel's recipes under their names in mmpretrain: ``list_models('*sere*')``, ``get_model(NAME)``.

No weights are published, which mmpretrain tells when asked for them. MMEngine's hub is made to.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]


def list_recipes(module: ModuleType) -> None:
    """Let mmpretrain's hub read mmrel's model index together with its own.

    A name that mmpretrain has too (MoCo v3's) stays mmpretrain's; mmrel's recipe is listed as ``mmrel_NAME``.

    Args:
        module (ModuleType): ``mmpretrain.apis.model``.
    """
    hub = module.ModelHub
    register_own = hub._register_mmpretrain_models

    def register_all() -> None:
        register_own()
        hub._register_mmpretrain_models = register_own
        add_recipes(hub._models_dict)

    hub._register_mmpretrain_models = register_all


def add_recipes(models: dict[str, object]) -> None:
    """Add what ``model-index.yml`` lists of mmpretrain's models, with the configurations' full paths.

    Recipes of mmdet and mmseg, which mmpretrain cannot build, are left out.

    Args:
        models (dict): The hub's models by their names in lower case, changed in place.
    """
    from modelindex.load_model_index import load

    root = index_folder()
    if root is None:
        return
    index = load(str(root / "model-index.yml"))
    index.build_models_with_collections()
    for model in index.models:
        if model.metadata.data.get("Library", "mmpretrain") != "mmpretrain":
            continue
        model.config = str(root / model.config)
        name = model.name.lower()
        models[f"mmrel_{name}" if name in models else name] = model


def index_folder() -> Path | None:
    """The folder of ``model-index.yml``: an installation's ``.mim``, a checkout, or None."""
    places = (PACKAGE / ".mim", PACKAGE.parent)
    return next((place for place in places if (place / "model-index.yml").is_file()), None)


def refuse_absent_weights(module: ModuleType) -> None:
    """Let MMEngine's hub say that a recipe has no weights, where it fails with a TypeError.

    Args:
        module (ModuleType): ``mmengine.hub.hub``.
    """
    build = module.get_model

    def get_model(cfg_path: str, pretrained: bool = False, **kwargs: Any) -> Any:
        if pretrained and cfg_path.startswith("mmrel::"):
            raise ValueError(
                f"pretrained=True was given for {cfg_path!r}, but no weights are published for mmrel's recipes. "
                "Train with the recipe, or leave pretrained out and load a checkpoint that you have."
            )
        return build(cfg_path, pretrained, **kwargs)

    vars(module)["get_model"] = get_model
