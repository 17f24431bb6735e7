"""Where images come from: folders, lists, archives, storage elsewhere, tables. Each lists its images and reads them."""

from mmrel.datasets.sources.base import Classes, ImageSource
from mmrel.datasets.sources.look import open_source, open_sources

__all__ = ["Classes", "ImageSource", "open_source", "open_sources"]
