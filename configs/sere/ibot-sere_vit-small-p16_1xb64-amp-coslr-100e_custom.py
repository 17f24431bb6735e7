# The former name of ibot-sere_vit-small-p16_custom.py, kept for scripts that use it.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
# Command:  python tools/train.py configs/sere/ibot-sere_vit-small-p16_custom.py --cfg-options data_root=/my/photos
#           and not ibot-sere_vit-small-p16_1xb64-amp-coslr-100e_custom.py any more.
# Hardware: 1 GPU, 64 images.
# Expected: see there.
_base_ = ["./ibot-sere_vit-small-p16_custom.py"]
