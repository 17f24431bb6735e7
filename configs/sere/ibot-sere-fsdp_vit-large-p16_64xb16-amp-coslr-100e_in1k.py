# SERE on iBOT, ViT-L/16, 100 epochs on ImageNet-1k, with parameters, gradients, moments and teacher shared out (FSDP2).
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184; the
#           settings of ibot-sere_vit-large-p16_16xb64-amp-coslr-100e_in1k.py, whose checkpoints this run can resume and
#           the other way round. Batch norm in the relation heads sees the images of all processes, as there.
# When:     where one GPU does not hold the recipe without FSDP2 (weights, teacher, gradients and moments take
#           5.8 GiB, 20 bytes per parameter), and as a start for larger networks.
# Command:  on each of eight nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/sere/ibot-sere-fsdp_vit-large-p16_64xb16-amp-coslr-100e_in1k.py 8
# Hardware: 64 GPUs, 16 images each (batch 1024). Computed memory of one: 0.1 GiB in the place of those
#           5.8, and 0.7 GiB for what is gathered and its copies in half precision.
# Expected: no published figure known; not yet measured by this project.
_base_ = ["./ibot-sere_vit-large-p16_16xb64-amp-coslr-100e_in1k.py"]

model_wrapper_cfg = dict(_delete_=True, type="mmrel.FullySharded")
train_dataloader = dict(batch_size=16)
