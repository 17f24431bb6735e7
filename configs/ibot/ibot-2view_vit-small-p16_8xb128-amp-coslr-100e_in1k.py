# iBOT without local crops, ViT-S/16, 100 epochs on ImageNet-1k.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832;
#           the two-view setting of SERE's Jittor port (global crops from 0.14 of the image on).
# Command:  bash tools/dist_train.sh configs/ibot/ibot-2view_vit-small-p16_8xb128-amp-coslr-100e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published figure known; not yet measured by this project.
_base_ = ["./ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k.py"]

_base_.train_dataloader.dataset.pipeline[1].update(global_scale=(0.14, 1.0), num_local=0)
