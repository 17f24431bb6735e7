"""Relations and their losses (SERE, arXiv 2206.05184, section 3): worked examples, slow forms, gradients, bad input."""

import math

import pytest
import torch
from reference import overlap as overlap_reference
from reference import relation as reference
from torch import Tensor

from mmrel.ops.overlap import overlap_lattice, sample_tokens
from mmrel.ops.relation import (
    channel_relation,
    channel_relation_loss,
    matched_spatial_loss,
    merged_channel_loss,
    spatial_relation,
    spatial_relation_loss,
)

T7_TEACHER = torch.tensor([[[1.0, 0], [0, 1], [1, 1], [2, 0]]])
T7_STUDENT = torch.tensor([[[0.0, 1], [1, 0], [1, 1], [0, 2]]])
BOX_A, BOX_B = torch.tensor([[10.0, 20, 100, 80, 0]]), torch.tensor([[50.0, 40, 120, 100, 1]])
DTYPES = ((torch.float64, 1e-10), (torch.float32, 1e-5))


@pytest.fixture(params=[None, 60], ids=["one-piece", "many-pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the usual pieces of a batch, and with tiny ones."""
    if request.param:
        monkeypatch.setattr("mmrel.ops.pieces.ENTRIES_PER_THREAD", request.param)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def lattices(batch: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    return tuple(1.4 * random(batch, side, side, 2, seed=seed + i).tanh() for i in range(2))


def test_spatial_relation__worked_example() -> None:
    """Four tokens, worked by hand."""
    r = math.sqrt(0.5)
    expected = [[r, 0, r, 2 * r], [0, r, r, 0], [r, r, 2 * r, 2 * r], [2 * r, 0, 2 * r, 4 * r]]
    relation = spatial_relation(T7_TEACHER, 1)
    torch.testing.assert_close(relation[0, 0], torch.tensor(expected))
    two = spatial_relation(T7_TEACHER, 2)[0]
    for head, column in enumerate(([1.0, 0, 1, 2], [0.0, 1, 1, 0])):
        vector = torch.tensor(column)
        torch.testing.assert_close(two[head], torch.outer(vector, vector))
    softmax = (relation[0, 0] / 0.5).softmax(-1)
    assert softmax[0].tolist() == pytest.approx([0.157323, 0.038248, 0.157323, 0.647107], abs=1e-6)
    assert softmax[3].tolist() == pytest.approx([0.052693, 0.003114, 0.052693, 0.8915], abs=1e-6)


def test_matched_spatial_loss__worked_example() -> None:
    """No resampling: every token is compared where it is."""
    rows = []
    for row in range(4):
        student, teacher = (
            spatial_relation(T7_STUDENT, 1)[0, 0],
            spatial_relation(T7_TEACHER, 1)[0, 0],
        )
        rows.append(reference.row_cross_entropy(student[row], teacher[row], 1.0, 0.5).item())
    assert rows == pytest.approx([1.078245, 1.232270, 1.232270, 0.593090], abs=1e-6)
    loss = matched_spatial_loss(T7_STUDENT, T7_TEACHER, 1)
    assert loss.item() == pytest.approx(1.033969, abs=1e-6)


def test_spatial_relation__resampling_identity() -> None:
    """The relation of sampled tokens is the resampled relation."""
    lattice, _ = overlap_lattice(BOX_A, BOX_B, 3)
    matrix = overlap_reference.sampling_matrix(lattice[0], (2, 2)).float()
    direct = matrix @ spatial_relation(T7_TEACHER, 1)[0, 0] @ matrix.T
    sampled = spatial_relation(sample_tokens(T7_TEACHER, lattice, (2, 2)), 1)[0, 0]
    torch.testing.assert_close(sampled, direct)
    expected = [0.781353, 0.293449, 0.106066, 1.306380, 1.550332, 0.795495, 0.740694, 0.984646]
    assert sampled[4].tolist() == pytest.approx([*expected, 0.512652], abs=1e-6)


def test_channel_relation__worked_example() -> None:
    """Four tokens, worked by hand."""
    teacher, student = channel_relation(T7_TEACHER)[0], channel_relation(T7_STUDENT)[0]
    torch.testing.assert_close(teacher, torch.tensor([[1.5, 0.25], [0.25, 0.5]]))
    torch.testing.assert_close(student, torch.tensor([[0.5, 0.25], [0.25, 1.5]]))
    softmax = (teacher / 0.1).softmax(-1).flatten().tolist()
    assert softmax == pytest.approx([0.999996, 0.000004, 0.075858, 0.924142], abs=1e-6)
    rows = [reference.row_cross_entropy(student[i], teacher[i], 1.0, 0.1).item() for i in range(2)]
    assert rows == pytest.approx([0.575940, 0.346752], abs=1e-6)
    loss = channel_relation_loss(T7_STUDENT, T7_TEACHER)
    assert loss.item() == pytest.approx(0.461346, abs=1e-6)


def test_relation_losses__two_views() -> None:
    """Two views each, on lattices that overlap."""
    teachers = T7_TEACHER, torch.tensor([[[0.0, 2], [1, 0], [1, 1], [0, 1]]])
    students = T7_STUDENT, torch.tensor([[[1.0, 1], [0, 1], [2, 0], [1, 0]]])
    lattice = overlap_lattice(BOX_A, BOX_B, 2)
    terms = [
        spatial_relation_loss(
            students[v], teachers[q], lattice[v], lattice[q], 1, (2, 2), (2, 2)
        ).item()
        for q, v in ((0, 1), (1, 0))
    ]
    assert terms == pytest.approx([1.416986, 1.400987], abs=1e-6)
    assert sum(terms) / 2 == pytest.approx(1.408986, abs=1e-6)
    channel = [channel_relation_loss(students[v], teachers[q]) for q, v in ((0, 1), (1, 0))]
    assert sum(channel).item() / 2 == pytest.approx(0.423419, abs=1e-6)


@pytest.mark.parametrize(("side", "value"), [(13, 5.129899), (6, 3.583519)])
def test_spatial_relation_loss__no_overlap(side: int, value: float) -> None:
    """Ln(S * S), and a gradient that is exactly 0."""
    student = random(2, 16, 4, dtype=torch.float32).requires_grad_()
    nowhere = torch.full((2, side, side, 2), -2.0)
    loss = spatial_relation_loss(
        student, random(2, 16, 4).float(), nowhere, nowhere, 2, (4, 4), (4, 4)
    )
    assert loss.item() == pytest.approx(value, abs=1e-5)
    loss.backward()
    assert student.grad is not None and not student.grad.any()


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("temperatures", [(0.5, 1.0), (0.2, 0.7)])
def test_spatial_relation_loss__equals_reference(
    dtype: torch.dtype, tolerance: float, temperatures: tuple[float, float], pieces: None
) -> None:
    student, teacher = random(3, 6, 6).relu(), random(3, 12, 6, seed=1).relu()
    student_lattice, teacher_lattice = lattices(3, 3)
    results = []
    for function, kind in (
        (spatial_relation_loss, dtype),
        (reference.spatial_relation_loss, torch.float64),
    ):
        leaf = student.to(kind, copy=True).requires_grad_()
        maps = teacher.to(kind), student_lattice.to(kind), teacher_lattice.to(kind)
        loss = function(leaf, *maps, 2, (2, 3), (4, 3), *temperatures)
        assert loss.dtype == kind and loss.shape == ()
        loss.backward()
        results.append((loss.detach().double(), leaf.grad.double()))
    for fast, slow in zip(*results, strict=True):
        assert (fast - slow).norm() <= tolerance * slow.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("temperatures", [(0.1, 1.0), (0.3, 0.6)])
def test_channel_relation_loss__equals_reference(
    dtype: torch.dtype, tolerance: float, temperatures: tuple[float, float], pieces: None
) -> None:
    student, teacher = random(3, 6, 5).relu(), random(3, 12, 5, seed=1).relu()
    results = []
    for function, kind in (
        (channel_relation_loss, dtype),
        (reference.channel_relation_loss, torch.float64),
    ):
        leaf = student.to(kind, copy=True).requires_grad_()
        loss = function(leaf, teacher.to(kind), *temperatures)
        assert loss.dtype == kind and loss.shape == ()
        loss.backward()
        results.append((loss.detach().double(), leaf.grad.double()))
    for fast, slow in zip(*results, strict=True):
        assert (fast - slow).norm() <= tolerance * slow.norm()


def test_merged_channel_loss__equals_single_terms(pieces: None) -> None:
    """Teachers merged, groups of several views: the mean of all single terms."""
    teacher = random(3, 2, 7, 5)
    students = [random(k, 2, n, 5, seed=k).requires_grad_() for k, n in ((1, 7), (4, 3), (2, 6))]
    targets = [(1, 2), (0, 1, 2), (1,)]
    merged = merged_channel_loss(students, teacher, targets, 0.2, 0.8)
    terms = [
        channel_relation_loss(view, teacher[q], 0.2, 0.8)
        for group, views in zip(targets, students, strict=True)
        for view in views
        for q in group
    ]
    single = torch.stack(terms).mean()
    torch.testing.assert_close(merged, single, rtol=1e-10, atol=1e-10)
    for fast, slow in zip(
        torch.autograd.grad(merged, students), torch.autograd.grad(single, students), strict=True
    ):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


def test_spatial_relation_loss__gradcheck(pieces: None) -> None:
    student, teacher = random(2, 4, 4).requires_grad_(), random(2, 4, 4, seed=1)
    maps = lattices(2, 2)
    assert torch.autograd.gradcheck(
        lambda s: 3 * spatial_relation_loss(s, teacher, *maps, 2, (2, 2), (2, 2)), student
    )


def test_merged_channel_loss__gradcheck(pieces: None) -> None:
    students = [random(1, 2, 3, 4).requires_grad_(), random(2, 2, 2, 4, seed=1).requires_grad_()]
    teacher = random(2, 2, 3, 4, seed=2)
    assert torch.autograd.gradcheck(
        lambda *s: 3 * merged_channel_loss(list(s), teacher, [(1,), (0, 1)]), students
    )


def test_relation_losses__no_gradient_for_the_teacher() -> None:
    """Only the groups that need one get a gradient."""
    student, teacher = random(2, 4, 4).requires_grad_(), random(2, 4, 4, seed=1).requires_grad_()
    maps = lattices(2, 2)
    loss = spatial_relation_loss(student, teacher, *maps, 2, (2, 2), (2, 2))
    (loss + channel_relation_loss(student, teacher)).backward()
    assert teacher.grad is None and student.grad is not None
    assert not channel_relation_loss(student.detach(), teacher).requires_grad
    frozen = random(1, 2, 4, 4)
    merged = merged_channel_loss([frozen, student[None]], teacher[None], [(0,), (0,)])
    assert torch.autograd.grad(merged, student)[0].any()


def test_relation_losses__float32_under_autocast() -> None:
    student, teacher = (
        random(2, 9, 8).bfloat16().requires_grad_(),
        random(2, 9, 8, seed=1).bfloat16(),
    )
    maps = tuple(lattice.float() for lattice in lattices(2, 3))

    def losses(s: Tensor, t: Tensor) -> list[Tensor]:
        return [
            spatial_relation_loss(s, t, *maps, 2, (3, 3), (3, 3)),
            channel_relation_loss(s, t),
        ]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = losses(student, teacher)
    for value, exact in zip(mixed, losses(student.float(), teacher.float()), strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact)
    sum(mixed).backward()
    assert student.grad is not None and student.grad.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        relations = spatial_relation(student.float(), 2), channel_relation(student.float())
    torch.testing.assert_close(relations[0], spatial_relation(student.float(), 2))
    torch.testing.assert_close(relations[1], channel_relation(student.float()))


def test_relation__keeps_dtype_and_reference() -> None:
    tokens = random(2, 5, 6)
    torch.testing.assert_close(spatial_relation(tokens, 3)[1], reference.spatial_map(tokens[1], 3))
    torch.testing.assert_close(channel_relation(tokens)[1], reference.channel_map(tokens[1]))
    assert spatial_relation(tokens.half(), 3).dtype == torch.float16
    assert channel_relation(tokens.half()).dtype == torch.float16


@pytest.mark.parametrize(
    ("shapes", "settings", "words"),
    [
        (((2, 4, 6), (2, 4, 6)), dict(num_heads=4), r"num_heads is 4.*width 6.*\[1, 2, 3, 6\]"),
        (((2, 4, 6), (2, 4, 6)), dict(num_heads=0), "num_heads is 0"),
        (((2, 4, 6), (3, 4, 6)), {}, r"\(2, 4, 6\).*\(3, 4, 6\)"),
        (((2, 4, 6), (2, 4, 5)), {}, r"\(2, 4, 6\).*\(2, 4, 5\)"),
        (((4, 6), (4, 6)), {}, r"\(4, 6\).*\(B, N, C\)"),
        (((2, 5, 6), (2, 4, 6)), {}, r"grid \(2, 2\) has 4 tokens.*5"),
        (((2, 4, 6), (2, 4, 6)), dict(teacher_temperature=0.0), "teacher_temperature is 0.0"),
        (((2, 4, 6), (2, 4, 6)), dict(student_temperature=-1), "student_temperature is -1"),
        (
            ((2, 4, 6), (2, 4, 6)),
            dict(teacher_lattice=torch.zeros(2, 2, 2, 2)),
            "lattices of one side",
        ),
    ],
)
def test_spatial_relation_loss__bad_input(shapes: tuple, settings: dict, words: str) -> None:
    arguments = dict(
        student=torch.zeros(shapes[0]),
        teacher=torch.zeros(shapes[1]),
        student_lattice=torch.zeros(2, 3, 3, 2),
        teacher_lattice=torch.zeros(2, 3, 3, 2),
        num_heads=2,
        student_grid=(2, 2),
        teacher_grid=(2, 2),
    )
    with pytest.raises(ValueError, match=words):
        spatial_relation_loss(**{**arguments, **settings})


def test_channel_relation_loss__bad_input() -> None:
    tokens = torch.zeros(2, 4, 6)
    with pytest.raises(ValueError, match=r"\(2, 4, 6\).*\(2, 4, 5\)"):
        channel_relation_loss(tokens, torch.zeros(2, 4, 5))
    with pytest.raises(ValueError, match=r"\(4, 6\).*\(B, N, C\)"):
        channel_relation(tokens[0])
    with pytest.raises(ValueError, match="teacher_temperature is 0"):
        channel_relation_loss(tokens, tokens, teacher_temperature=0)
    with pytest.raises(ValueError, match="number of views and of tokens"):
        merged_channel_loss([torch.zeros(1, 2, 4, 6)], torch.zeros(2, 3, 4, 6), [(0,)])
