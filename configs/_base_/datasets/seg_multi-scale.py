"""Multi-scale test with flips around 2048 x 512, the size of the test at one scale, as in iBOT's multi-scale test.

mmseg's form multiplies the photo's own size instead: on PASCAL VOC, whose photos have a short side of 375, its
ratio of 1 is not the test at one scale.
"""

multi_scale_test = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(int(2048 * ratio), int(512 * ratio)), keep_ratio=True)
                for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
