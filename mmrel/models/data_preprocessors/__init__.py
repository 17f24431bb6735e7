"""What happens to a batch on the device before the model sees it."""

from mmrel.models.data_preprocessors.view_preprocessor import ViewPreprocessor

__all__ = ["ViewPreprocessor"]
