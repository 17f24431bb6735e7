"""The rows of a plan that tell what the folder holds."""

from mmrel.apis.choices import Choice
from mmrel.apis.pretraining.survey import VIDEOS, Survey, by_ending
from mmrel.datasets.folder_listing import OTHER_IMAGES
from mmrel.utils.text import listed

MOST_ENDINGS = 5


def describe_photos(survey: Survey) -> list[Choice]:
    """Rows about the folder."""
    heights = sorted(header.height for header in survey.headers)
    widths = sorted(header.width for header in survey.headers)
    size = f"{widths[0]}x{heights[0]}"
    if (widths[0], heights[0]) != (widths[-1], heights[-1]):
        size = (
            f"widths {widths[0]} to {widths[-1]}, heights {heights[0]} to {heights[-1]} pixels, "
            f"half of them at least {survey.short_side} on the short side"
        )
    looked = "" if survey.sampled == survey.num_images else f" (of {survey.sampled} looked at)"
    rows = [Choice("photos", f"{survey.num_images:,} images", size + looked), _channels(survey)]
    if survey.unreadable:
        names = [f"{name}: {reason}" for name, reason in survey.unreadable.items()]
        value = f"{len(survey.unreadable)} of {survey.sampled} looked at"
        rows.append(Choice("unreadable", value, f"passed over in training: {listed(names, 2)}"))
    if survey.others or survey.dead:
        rows.append(_left_out(survey))
    return rows


def _channels(survey: Survey) -> Choice:
    grey = sum(header.channels == 1 for header in survey.headers)
    wide = sum(header.wide for header in survey.headers)
    value = "colour" if not grey else "grey" if grey == len(survey.headers) else "colour and grey"
    reason = "read as RGB" if not grey else f"{grey} of {len(survey.headers)} are grey: read as RGB"
    if wide:
        reason += f"; {wide} of more than 8 bits, reduced to 8 (docs/data.md)"
    return Choice("channels", value, reason)


def _left_out(survey: Survey) -> Choice:
    parts = by_ending(survey.others)
    if len(parts) > MOST_ENDINGS:
        parts = [*parts[:MOST_ENDINGS], f"{len(parts) - MOST_ENDINGS} other endings"]
    if survey.dead:
        parts.append(f"{len(survey.dead)} dead links")
    advice = []
    if OTHER_IMAGES & survey.others.keys():
        names = ", ".join(sorted(OTHER_IMAGES & survey.others.keys()))
        advice.append(f"{names}: convert these to JPEG or PNG to use them")
    if VIDEOS & survey.others.keys():
        advice.append("of videos write the frames as images to use them")
    return Choice("left out", ", ".join(parts), "; ".join(advice) or "no images")
