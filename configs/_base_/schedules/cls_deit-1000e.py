# The optimisation of iBOT's transfer to small sets: DeiT's for 1000 epochs, batches of 768.
_base_ = ["./cls_deit-300e.py"]

train_cfg = dict(max_epochs=1000)
_base_.param_scheduler[1].end = 1000
auto_scale_lr = dict(base_batch_size=768)
