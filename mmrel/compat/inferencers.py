"""The inferencers of mmdet and mmseg for mmrel's recipes: ``DetInferencer(NAME, scope='mmrel')``.

The scope says where the model's name is looked up; the inferencer also takes it for the library whose transforms,
data sets and visualizers the configuration names. mmrel's recipes are configurations of mmdet and mmseg and say so in
``default_scope``.
"""

from types import ModuleType
from typing import Any


def follow_default_scope(module: ModuleType) -> None:
    """Make an inferencer of a recipe of mmrel work in the scope that the recipe names.

    Args:
        module (ModuleType): ``mmengine.infer.infer``.
    """
    from mmengine.registry import init_default_scope

    inferencer = module.BaseInferencer
    load = inferencer._load_model_from_metafile

    def load_model_from_metafile(self: Any, model: str) -> tuple[Any, Any]:
        config, weights = load(self, model)
        if self.scope == "mmrel":
            self.scope = config.get("default_scope", self.scope)
            init_default_scope(self.scope)
        return config, weights

    inferencer._load_model_from_metafile = load_model_from_metafile
