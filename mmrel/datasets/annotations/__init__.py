"""Annotations of users' own images: COCO, PASCAL VOC, LabelMe and masks read, checked, and brought to one form."""
