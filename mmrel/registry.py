"""mmrel's registries: children of MMEngine's root registries, under the scope ``mmrel``.

They are siblings of mmdet's and mmseg's registries, which is why ``type='mmrel.X'`` resolves from a
configuration of any OpenMMLab library: a registry asked for a foreign scope looks among the root's
children. ``locations`` are the modules that are imported on the first look-up.
"""

from difflib import get_close_matches
from importlib import import_module

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

from mmrel.utils.hosts import require_host

ON_MMSEG = {
    "ImageNetSDataset": "mmrel.datasets.imagenet_s",
    "ImageNetSMetric": "mmrel.evaluation.segmentation",
    "MaskListDataset": "mmrel.datasets.mask_list",
    "PatchHead": "mmrel.models.segmentors.patch_head",
    "PatchSegmentor": "mmrel.models.segmentors.patch_segmentor",
}
"""Where the classes are that build on mmseg's. They are imported when they are asked for, since mmseg may be absent."""


class NamingRegistry(Registry):
    """A registry that, asked for a name it does not know, says which names it knows."""

    def get(self, key: str) -> type:
        """The class registered under ``key``.

        Raises:
            KeyError: neither this registry nor its ancestors know the name.
            ModuleNotFoundError: it is one of those that need mmseg, which is not installed.
        """
        name = key.split(".")[-1]
        if name in ON_MMSEG and name not in self.module_dict:
            require_host("mmseg")
            import_module(ON_MMSEG[name])
        found = super().get(key)
        if found is None:
            close = get_close_matches(name, self.module_dict, n=1)
            hint = f" Did you mean mmrel.{close[0]}?" if close else ""
            raise KeyError(
                f"mmrel knows no {self.name} {name!r}.{hint} Known: {', '.join(sorted(self.module_dict))}. "
                "Names of other libraries need their prefix, such as mmpretrain.VisionTransformer."
            )
        return found

    def __contains__(self, key: str) -> bool:
        return super().get(key) is not None


def _child(name: str, parent: Registry, location: str) -> Registry:
    return NamingRegistry(name, parent=parent, scope="mmrel", locations=[location])


MODELS = _child("model", MMENGINE_MODELS, "mmrel.models")
MODEL_WRAPPERS = _child("model wrapper", MMENGINE_MODEL_WRAPPERS, "mmrel.engine")
DATASETS = _child("dataset", MMENGINE_DATASETS, "mmrel.datasets.image_folder")
DATA_SAMPLERS = _child("data sampler", MMENGINE_DATA_SAMPLERS, "mmrel.datasets.samplers")
TRANSFORMS = _child("transform", MMENGINE_TRANSFORMS, "mmrel.datasets.transforms")
FUNCTIONS = _child("function", MMENGINE_FUNCTIONS, "mmrel.checkpoints.conversion")
HOOKS = _child("hook", MMENGINE_HOOKS, "mmrel.engine")
LOOPS = _child("loop", MMENGINE_LOOPS, "mmrel.engine")
OPTIM_WRAPPERS = _child("optimizer wrapper", MMENGINE_OPTIM_WRAPPERS, "mmrel.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor", MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, "mmrel.engine"
)
PARAM_SCHEDULERS = _child("parameter scheduler", MMENGINE_PARAM_SCHEDULERS, "mmrel.engine")
METRICS = _child("metric", MMENGINE_METRICS, "mmrel.evaluation")
