# What every classification data set here shares: labelled images in class folders, evaluated while training and after.
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="mmrel.ImageFolder", with_label=True),
)
val_dataloader = dict(train_dataloader, sampler=dict(type="DefaultSampler", shuffle=False))
val_evaluator = dict(type="Accuracy", topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
