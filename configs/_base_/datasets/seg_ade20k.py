"""ADE20K as mmseg has it, with another multi-scale test."""

_base_ = ["mmseg::_base_/datasets/ade20k.py", "./seg_multi-scale.py"]

tta_pipeline = _base_.multi_scale_test
