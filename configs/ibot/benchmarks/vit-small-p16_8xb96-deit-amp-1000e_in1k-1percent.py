# Fine-tuning of iBOT's ViT-S/16 on the labels of 1 % of ImageNet-1k, with the first layer of its projection head.
# SimCLR's list of images: data/imagenet/splits/1percent.txt, lines 'n01440764/n01440764_18.JPEG 0'.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; settings of the public
#           code but for batch and lowest rate, which are ours.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_in1k-1percent.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT model.neck.init_cfg.checkpoint=CHECKPOINT
#           with the checkpoint of the pretraining itself, which holds the head. Without the options: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = [
    "../../_base_/models/cls_first-layer_vit-small-p16.py",
    "../../_base_/datasets/cls_deit.py",
    "../../_base_/schedules/cls_deit-1000e.py",
    "../../_base_/cls_runtime.py",
]

data_root = "data/imagenet"
_base_.train_dataloader.dataset.update(
    data_root=data_root, data_prefix="train", ann_file="splits/1percent.txt"
)
_base_.val_dataloader.dataset.data_root = data_root + "/val"
_base_.test_dataloader.dataset.data_root = data_root + "/val"
train_dataloader = dict(batch_size=96)
val_dataloader = dict(batch_size=96)
test_dataloader = val_dataloader
# DeiT's lowest rate, 1e-5, lies above this one, so that the cosine would rise.
rate = 5e-6 * 768 / 512
optim_wrapper = dict(optimizer=dict(lr=rate))
_base_.param_scheduler[0].start_factor = 1e-6 / rate
_base_.param_scheduler[1].eta_min = 1e-6
