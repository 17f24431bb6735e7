# Fine-tuning of iBOT's ViT-S/16 on the labels of 10 % of ImageNet-1k, with the first layer of its projection head.
# SimCLR's list of images: data/imagenet/splits/10percent.txt, lines 'n01440764/n01440764_18.JPEG 0'.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; settings of the public
#           code but for batch and lowest rate, which are ours.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_in1k-10percent.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT model.neck.init_cfg.checkpoint=CHECKPOINT
#           with the checkpoint of the pretraining itself, which holds the head. Without the options: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./vit-small-p16_8xb96-deit-amp-1000e_in1k-1percent.py"]

_base_.train_dataloader.dataset.ann_file = "splits/10percent.txt"
