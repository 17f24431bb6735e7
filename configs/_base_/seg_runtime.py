"""What every segmentation recipe shares: mmseg's runtime, and mmrel's parts made known to it."""

_base_ = "mmseg::_base_/default_runtime.py"

custom_imports = dict(imports=["mmrel"], allow_failed_imports=False)
