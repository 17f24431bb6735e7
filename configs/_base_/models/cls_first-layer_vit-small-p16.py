# Fine-tuning on few labels: the first layer of the pretraining's projection head stays between the class token and the
# linear head. Backbone and layer come from the same checkpoint of the pretraining, the teacher's by default.
_base_ = ["./cls_vit-small-p16.py"]

model = dict(
    backbone=dict(init_cfg=dict(prefix="teacher.backbone.")),
    neck=dict(
        _delete_=True,
        type="mmrel.FirstProjectionLayer",
        in_channels=384,
        hidden_channels=2048,
        init_cfg=dict(type="Pretrained", checkpoint=None, prefix="teacher.neck.projection."),
    ),
    head=dict(in_channels=2048),
)
