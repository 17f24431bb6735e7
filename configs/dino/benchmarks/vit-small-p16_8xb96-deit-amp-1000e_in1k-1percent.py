# Fine-tuning of DINO's ViT-S/16 on the labels of 1 % of ImageNet-1k, with the first layer of its projection head.
# SimCLR's list of images: data/imagenet/splits/1percent.txt, lines 'n01440764/n01440764_18.JPEG 0'.
# Paper:    the recipe is iBOT's (ICLR 2022, arXiv 2111.07832) but for batch and lowest rate, which are ours; the
#           weights are DINO's, arXiv 2104.14294.
# Command:  bash tools/dist_train.sh configs/dino/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_in1k-1percent.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT model.neck.init_cfg.checkpoint=CHECKPOINT
#           with the checkpoint of the pretraining itself, which holds the head. Without the options: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no published number is known to us; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_in1k-1percent.py"]
