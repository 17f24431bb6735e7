"""PASCAL VOC 2012 with the additional masks of SBD as mmseg has it, with another multi-scale test."""

_base_ = ["mmseg::_base_/datasets/pascal_voc12_aug.py", "./seg_multi-scale.py"]

tta_pipeline = _base_.multi_scale_test
