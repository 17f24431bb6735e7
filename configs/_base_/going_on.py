# What a recipe for your own images adds where it goes on from released weights (configs/gram/ does, and
# tools/pretrain.py --from FILE). Take it beside such a recipe in _base_ and put the four in, as
# configs/gram/ibot-gram_vit-small-p16_custom.py does:
#   recipe        the learning rate rises over two epochs, and the teacher's momentum keeps a tenth of the weights
#   optim_wrapper the backbone learns at a tenth of the rate; necks and heads, which begin anew, at all of it
#   default_hooks the backbone rests in the first epoch, while the teacher follows the necks faster
#   backbone      patch kernel, positions and class token are kept for good, as MoCo v3 keeps its patch kernel;
#                 frozen_stages=-1 trains them too, for images that are no photos
going_on_recipe = dict(going_on=True, warmup_epochs=2)
going_on_optimizer = dict(backbone_lr_mult=0.1)
going_on_hooks = dict(
    freeze_backbone=dict(type="mmrel.FreezeBackboneHook", epochs="auto"),
    teacher_update=dict(momentum="auto", frozen_momentum="auto"),
)
going_on_backbone = dict(frozen_stages=0)
