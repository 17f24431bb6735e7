# Fine-tuning of MoCo v3's ViT-S/16 on the labels of 1 % of ImageNet-1k, with the first layer of its projection head.
# SimCLR's list of images: data/imagenet/splits/1percent.txt, lines 'n01440764/n01440764_18.JPEG 0'.
# Paper:    the recipe is iBOT's (ICLR 2022, arXiv 2111.07832) but for batch and lowest rate, which are ours; the
#           weights are MoCo v3's, arXiv 2104.02057.
# Command:  bash tools/dist_train.sh configs/mocov3/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_in1k-1percent.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT model.neck.init_cfg.checkpoint=CHECKPOINT
#           with the checkpoint of the pretraining itself, which holds the head. Without the options: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no published number is known to us; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_in1k-1percent.py"]

# MoCo v3's ViT-S has 12 heads of 32 channels. Its fixed positions come with the weights and are trained now.
_base_.model.backbone.arch = dict(
    embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536
)
# A layer of MoCo v3's head: linear without bias, batch norm, ReLU.
model = dict(
    neck=dict(hidden_channels=4096, norm_cfg=dict(type="SyncBN"), act_cfg=dict(type="ReLU")),
    head=dict(in_channels=4096),
)
