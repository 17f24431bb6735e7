"""UperNet, small ViT with 8-pixel patches, on the bundled scenes, classes weighted: what `make quickstart` runs.

Paper: none; vit-tiny-p8_upernet_scenes.py with a loss in which a class weighs about the inverse square root of its
    share of the pixels: some 14 % for each of the five grounds, 1 to 4 % for each of the ten shapes. Unweighted, 200
    iterations find one shape or none, and which one moves the mean IoU by more than the initial weights do.
Command: tools/train.py CONFIG --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
    (the other options of vit-tiny-p8_upernet_scenes.py hold here, too)
Hardware: one CPU core or one GPU.
Expected: see the quickstart's report; there is no published number.
"""

_base_ = ["./vit-tiny-p8_upernet_scenes.py"]

class_weight = [1.0] * 5 + [2.5] * 10  # the grounds, then the shapes: the data set's order
model = dict(
    decode_head=dict(loss_decode=dict(class_weight=class_weight)),
    auxiliary_head=dict(loss_decode=dict(class_weight=class_weight)),
)
