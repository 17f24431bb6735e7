"""Which tokens hold a share of the attention, and overlap with an object, one token and one pixel at a time."""


def kept_tokens(attention: list[float], mass: float) -> list[bool]:
    """DINO's threshold (arXiv 2104.14294): the smallest values are dropped while they hold at most ``1 - mass``."""
    total = sum(attention)
    kept, dropped = [True] * len(attention), 0.0
    for index in sorted(range(len(attention)), key=lambda i: attention[i]):
        dropped += attention[index] / total
        kept[index] = dropped > 1 - mass
    return kept


def jaccard(mask: list[list[bool]], truth: list[list[bool]], valid: list[list[bool]]) -> float:
    """Pixels in both, by pixels in either."""
    common = union = 0
    for mask_row, truth_row, valid_row in zip(mask, truth, valid, strict=True):
        for inside, wanted, counts in zip(mask_row, truth_row, valid_row, strict=True):
            common += counts and inside and wanted
            union += counts and (inside or wanted)
    return common / union if union else 1.0
