"""The protocols that there are. A further one is an entry more of such a table, given to ``evaluate(table=...)``."""

from mmrel.apis.evaluation.protocol import Measure, Protocol

CLS, AVG = "class token", "mean patch"
PIXELS = "pixels"
FEATURES = {"cls": CLS, "avg": AVG, PIXELS: PIXELS}
"""Features and what to call them; thumbnails have pixels."""
ALL_IMAGES = {"max_train": None, "max_val": None, "image_size": None}
SOME_IMAGES = {"max_train": 1000, "max_val": 500, "image_size": None}

PROTOCOLS = {
    "knn": Protocol(
        title="Weighted k-NN",
        about="The nearest training images vote for the class of each validation image, by the cosine of their frozen "
        "features (DINO, iBOT). Nothing is trained. A method without a class token in its loss has learnt nothing in "
        "it: look at the mean patch.",
        needs=("classification",),
        run="mmrel.apis.evaluation.protocols.knn:run",
        settings={
            "quick": {**SOME_IMAGES, "k": [10, 20], "temperature": 0.07},
            "full": {**ALL_IMAGES, "k": [10, 20, 100, 200], "temperature": 0.07},
        },
        measures=(
            Measure("k20_cls", f"k-NN ({CLS})", thumbnails="k20_pixels"),
            Measure("k20_avg", f"k-NN ({AVG})", thumbnails="k20_pixels"),
        ),
        titles={
            f"k{k}_{name}": f"{title}, k = {k}"
            for k in (10, 20, 100, 200)
            for name, title in FEATURES.items()
        },
        baselines=("random", "thumbnails"),
        cost=3.0,
    ),
    "logistic": Protocol(
        title="Logistic regression",
        about="A linear classifier with an L2 penalty on the same frozen features; the penalty is chosen on the "
        "validation images, for all networks alike.",
        needs=("classification",),
        run="mmrel.apis.evaluation.protocols.logistic:run",
        settings={"quick": SOME_IMAGES},
        measures=(
            Measure("top1_cls", f"logistic regression ({CLS})", thumbnails="top1_pixels"),
            Measure("top1_avg", f"logistic regression ({AVG})", thumbnails="top1_pixels"),
        ),
        titles={f"top1_{name}": title for name, title in FEATURES.items()},
        baselines=("random", "thumbnails"),
        cost=1.0,
    ),
    "linear_probe": Protocol(
        title="Linear probe",
        about="One linear layer on the same frozen features, trained by SGD at many learning rates at once; the best "
        "one is shown, chosen on the validation images, for all networks alike.",
        needs=("classification",),
        run="mmrel.apis.evaluation.protocols.linear_probe:run",
        settings={"full": {**ALL_IMAGES, "epochs": 100}},
        measures=(
            Measure("top1_cls", f"linear probe ({CLS})", thumbnails="top1_pixels"),
            Measure("top1_avg", f"linear probe ({AVG})", thumbnails="top1_pixels"),
        ),
        titles={f"top1_{name}": title for name, title in FEATURES.items()},
        baselines=("random", "thumbnails"),
        cost=3.0,
    ),
    "patch_knn": Protocol(
        title="Segmentation by patch k-NN",
        about="Each patch of a validation image takes the classes of the most similar patches of training images. "
        "Nothing is trained; figures are mean intersection over union.",
        needs=("segmentation",),
        run="mmrel.apis.evaluation.protocols.segmentation:run_patch_knn",
        settings={
            "quick": {
                "max_train": 200,
                "max_val": 100,
                "max_patches": 20_000,
                "k": 20,
                "size": None,
            },
            "full": {
                "max_train": None,
                "max_val": None,
                "max_patches": 1_000_000,
                "k": 20,
                "size": None,
            },
        },
        measures=(Measure("miou", "patch k-NN (mIoU)"),),
        titles={"miou": "mIoU"},
        cost=2.0,
    ),
    "linear_segmentation": Protocol(
        title="Segmentation by a linear layer",
        about="Batch norm and one linear layer on frozen patch tokens, trained at several learning rates; the best one "
        "is shown, chosen on the validation images, for all networks alike.",
        needs=("segmentation",),
        run="mmrel.apis.evaluation.protocols.segmentation:run_linear",
        settings={"full": {"max_train": None, "max_val": None, "size": None}},
        measures=(Measure("miou", "linear segmentation (mIoU)"),),
        titles={"miou": "mIoU"},
        cost=8.0,
    ),
    "davis": Protocol(
        title="Video objects (DAVIS)",
        about="The masks of a video's first frame are carried on from frame to frame by the similarity of patch "
        "tokens (DINO). J is the overlap of regions, F the agreement of contours.",
        needs=("davis",),
        run="mmrel.apis.evaluation.protocols.video:run",
        settings={
            "quick": {"split": "val", "max_sequences": 4, "size": None},
            "full": {"split": "val", "max_sequences": None, "size": None},
        },
        measures=(Measure("jf_mean", "DAVIS (J&F)"),),
        titles={
            "jf_mean": "J&F",
            **{
                f"{m}_{what}": f"{m.upper()} {what}"
                for m in "jf"
                for what in ("mean", "recall", "decay")
            },
        },
        cost=6.0,
    ),
    "tokens": Protocol(
        title="What the tokens are like",
        about="Cosine within an image: how alike its patch tokens are, 1 if all are the same. Share between images: of "
        "the tokens' variance, how much is what their image shares. Effective rank: how many dimensions the tokens "
        "fill, the exponential of the entropy of their singular values (RankMe).",
        needs=("classification", "segmentation", "images"),
        run="mmrel.apis.evaluation.protocols.tokens:run",
        settings={
            "quick": {"max_images": 64, "image_size": None},
            "full": {"max_images": 512, "image_size": None},
        },
        measures=(
            Measure("cosine_within_image", "cosine within an image (0 to 1)", better="", digits=2),
            Measure("share_between_images", "variance between images", better=""),
            Measure("effective_rank", "effective rank (dimensions)", better=""),
        ),
        cost=0.5,
    ),
    "correspondence": Protocol(
        title="Correspondence of two crops",
        about="Two random crops of an image, perhaps mirrored: of the patches of the first that the second shows too, "
        "the share whose most similar patch there is the right one or one beside it (iBOT).",
        needs=("segmentation", "classification", "images"),
        run="mmrel.apis.evaluation.protocols.correspondence:run",
        settings={
            "quick": {"max_images": 32, "radius": 1},
            "full": {"max_images": 500, "radius": 1},
        },
        measures=(Measure("accuracy", "correspondence of crops"),),
        cost=1.0,
    ),
    "pictures": Protocol(
        title="Pictures",
        about="What the last block attends to, which patches it takes for alike, and the three main directions of its "
        "patch tokens as colours.",
        needs=("images", "segmentation", "classification"),
        run="mmrel.apis.evaluation.protocols.pictures:run",
        settings={"quick": {"max_images": 4}, "full": {"max_images": 8}},
        cost=1.0,
    ),
}
"""By name. Functions are imported when they are used, so that a protocol's libraries are needed by it alone."""
