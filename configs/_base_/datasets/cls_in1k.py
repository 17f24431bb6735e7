# ImageNet-1k with the augmentation of MAE's and BEiT's fine-tuning: DeiT's, but every image is drawn once per epoch.
# Expected under data/imagenet: train/<class>/*.JPEG and val/<class>/*.JPEG.
_base_ = ["./cls_deit.py"]

data_root = "data/imagenet"

train_dataloader = dict(
    batch_size=128,
    num_workers=16,
    sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True),
    dataset=dict(data_root=data_root + "/train"),
)
val_dataloader = dict(batch_size=128, num_workers=16, dataset=dict(data_root=data_root + "/val"))
test_dataloader = val_dataloader
