# Fine-tuning of SiT's ViT-S/16 on ImageNet-1k by DeiT's recipe.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3, whose authors name DeiT's code with
#           its default parameters.
# Command:  bash tools/dist_train.sh configs/sit/benchmarks/vit-small-p16_8xb128-deit-amp-300e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./vit-small-p16_1xb64-deit-amp-300e_pets.py"]

data_root = "data/imagenet"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/val"
_base_.test_dataloader.dataset.data_root = data_root + "/val"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 1000
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-3))
_base_.param_scheduler[0].start_factor = 1e-3
auto_scale_lr = dict(base_batch_size=1024)
