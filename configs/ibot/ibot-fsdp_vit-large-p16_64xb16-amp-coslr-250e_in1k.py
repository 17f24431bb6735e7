# iBOT, ViT-L/16, 250 epochs on ImageNet-1k, with parameters, gradients, moments and teacher shared out (FSDP2).
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; the settings of
#           ibot_vit-large-p16_16xb64-amp-coslr-250e_in1k.py, whose checkpoints this run can resume and the other way
#           round.
# When:     where one GPU does not hold the recipe without FSDP2 (modelled 6.7 GiB at 16 images, 5.8 of them weights,
#           teacher, gradients and moments, 20 bytes per parameter), and as a start for larger networks.
# Command:  on each of eight nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/ibot/ibot-fsdp_vit-large-p16_64xb16-amp-coslr-250e_in1k.py 8
# Hardware: 64 GPUs, 16 images each (batch 1024). Computed memory of one: 0.1 GiB in the place of those
#           5.8, and 0.7 GiB for what is gathered and its copies in half precision.
# Expected: as the recipe without FSDP2, to rounding; not yet measured by this project.
_base_ = ["./ibot_vit-large-p16_16xb64-amp-coslr-250e_in1k.py"]

model_wrapper_cfg = dict(_delete_=True, type="mmrel.FullySharded")
train_dataloader = dict(batch_size=16)
