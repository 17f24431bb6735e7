"""mmrel.MultiHeadAccuracy against a count by hand."""

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope

CLASSES = 6


def evaluator(**kwargs: object) -> Evaluator:
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return Evaluator(dict(type="mmrel.MultiHeadAccuracy", **kwargs))


def samples(scores: torch.Tensor, labels: list[int], **more: object) -> list[dict]:
    return [
        dict(head_scores=row, gt_label=torch.tensor([label]), **more)
        for row, label in zip(scores, labels, strict=True)
    ]


def test_accuracy__of_each_head_and_of_the_best() -> None:
    rng = torch.Generator().manual_seed(0)
    scores, labels = torch.rand(40, 3, CLASSES, generator=rng), [i % CLASSES for i in range(40)]
    found = evaluator(topk=(1, 5))
    names = ("lr1", "lr2", "lr3")
    for start in (0, 25):
        part = slice(start, start + 25)
        found.process(samples(scores[part], labels[part], head_names=names))
    metrics = found.evaluate(40)
    expected = {}
    for head, name in enumerate(names):
        ranks = [
            sorted(range(CLASSES), key=lambda c: -row[head][c]).index(label)
            for row, label in zip(scores.tolist(), labels, strict=True)
        ]
        for k in (1, 5):
            expected[f"probe/{name}/top{k}"] = 100 * sum(rank < k for rank in ranks) / 40
    best = max(range(3), key=lambda head: expected[f"probe/{names[head]}/top1"])
    expected["probe/best_head"] = best
    for k in (1, 5):
        expected[f"probe/best_on_val_top{k}"] = expected[f"probe/{names[best]}/top{k}"]
    assert metrics == pytest.approx(expected)
    assert next(iter(metrics)) == "probe/best_on_val_top1"
    assert len({expected[f"probe/{name}/top1"] for name in names}) > 1


def test_accuracy__log_says_how_the_best_was_chosen(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "mmrel.evaluation.multi_head_accuracy.print_log", lambda text, *_: lines.append(text)
        )
        scores = torch.tensor([[[0.1, 0.9], [0.9, 0.1]]])
        found = evaluator(topk=(1,))
        found.process(samples(scores, [0]))
        found.evaluate(1)
    assert lines == [
        "best of 2 heads: head1 (number 1), top-1 100.00 %; it was chosen on these validation images"
    ]


def test_accuracy__a_head_that_diverged_has_nothing_right() -> None:
    scores = torch.full((4, 2, CLASSES), torch.nan)
    scores[:, 1] = torch.eye(CLASSES)[:4]
    found = evaluator(topk=(1, 5))
    found.process(samples(scores, [0, 1, 2, 2]))
    metrics = found.evaluate(4)
    assert (metrics["probe/head0/top1"], metrics["probe/head0/top5"]) == (0, 0)
    assert (metrics["probe/head1/top1"], metrics["probe/best_head"]) == (75, 1)


def test_accuracy__samples_that_fill_up_the_last_batch_do_not_count() -> None:
    """A distributed sampler repeats images; the evaluator keeps as many results as there are images."""
    found = evaluator(topk=(1,))
    found.process(samples(torch.eye(2)[[0, 1, 0]][:, None], [0, 1, 1]))
    assert found.evaluate(2)["probe/head0/top1"] == 100


@pytest.mark.parametrize("topk", [(), (0, 1)])
def test_topk__below_1_is_refused(topk: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give numbers from 1 on"):
        evaluator(topk=topk)


def test_process__predictions_that_do_not_fit_are_refused() -> None:
    scores = torch.rand(1, 2, 3)
    with pytest.raises(ValueError, match="top-5 accuracy of 3 classes"):
        evaluator().process(samples(scores, [0]))
    with pytest.raises(ValueError, match="no head_scores; .* take mmpretrain's Accuracy"):
        evaluator().process([dict(gt_label=torch.tensor([0]))])
