"""What happens to a batch on the device before the model sees it."""

from mmrel.models.data_preprocessors.corrupting import CorruptingViewPreprocessor
from mmrel.models.data_preprocessors.patch_augmenting import PatchAugmentingPreprocessor
from mmrel.models.data_preprocessors.view_preprocessor import ViewPreprocessor

__all__ = ["CorruptingViewPreprocessor", "PatchAugmentingPreprocessor", "ViewPreprocessor"]
