"""Triton compiles this project's kernels to machine code of GPUs, which needs no GPU."""

from typing import Any

import pytest

triton = pytest.importorskip("triton")
compiler = pytest.importorskip("triton.backends.compiler")
if "nvidia" not in triton.backends.backends:
    pytest.skip("this Triton has no compiler for NVIDIA's GPUs", allow_module_level=True)

FLOATS, LONGS, NUMBER = "*fp32", "*i64", "i32"
SIZES = dict(count=NUMBER, height=NUMBER, width=NUMBER)
AFFINE = dict(center=FLOATS, scale=FLOATS)
NOTHING: dict[str, Any] = dict(center=None, scale=None)
LARGE, SMALL = dict(group=1, span=1024), dict(group=64, span=16)
KERNELS: dict[str, tuple[str, str, dict[str, str], dict[str, Any]]] = {
    "sum_gray": (
        *("color_kernels", "sum_gray"),
        dict(images="*u8", table=FLOATS, sums=FLOATS, **SIZES),
        dict(columns=9, in_bytes=True),
    ),
    "jitter": (
        *("color_kernels", "jitter"),
        dict(
            images="*u8", table=FLOATS, sums=FLOATS, **AFFINE, target=FLOATS, **SIZES, spans=NUMBER
        ),
        dict(columns=9, flips=True, in_bytes=True, normalizes=True, padded_spans=64),
    ),
    "blur_rows": (
        *("color_kernels", "blur_rows"),
        dict(images=FLOATS, table=FLOATS, target=FLOATS, **SIZES),
        dict(columns=9, taps=13),
    ),
    "finish": (
        *("color_kernels", "finish"),
        dict(images=FLOATS, blurred=FLOATS, table=FLOATS, **AFFINE, **SIZES),
        dict(columns=9, blurs=True, normalizes=True, taps=13),
    ),
    # Without normalisation, mirroring and blur; and one span to an image, which Triton makes a constant.
    "jitter alone": (
        *("color_kernels", "jitter"),
        dict(images=FLOATS, table=FLOATS, sums=FLOATS, target=FLOATS, **SIZES),
        dict(columns=8, flips=False, in_bytes=False, normalizes=False, padded_spans=1, spans=1)
        | NOTHING,
    ),
    "solarisation alone": (
        *("color_kernels", "finish"),
        dict(images=FLOATS, table=FLOATS, **SIZES),
        dict(columns=8, blurs=False, normalizes=False, taps=1, blurred=None) | NOTHING,
    ),
    "scale": (
        *("scaling_kernels", "scale"),
        dict(addresses=LONGS, sizes=LONGS, factors=FLOATS, owners=LONGS, starts=LONGS),
        dict(chunk=16384, span=1024),
    ),
    "move": (
        *("moving_average_kernels", "move"),
        dict(
            **dict(teachers=LONGS, students=LONGS, sizes=LONGS),
            **dict(keep="fp32", add="fp32", ok="*i1", owners=LONGS, starts=LONGS),
        ),
        dict(chunk=16384, span=1024),
    ),
}
OVER_LISTS = ("scale", "move")


def compiled(
    name: str, capability: int, tile: dict[str, int], options: dict[str, Any] | None = None
) -> Any:
    """The compiled kernel for a GPU of that compute capability (90: H100)."""
    module, attribute, types, constants = KERNELS[name]
    kernels = pytest.importorskip(f"mmrel.ops.{module}")
    constants = constants | ({} if name in OVER_LISTS else tile)
    signature = {**types, **dict.fromkeys(constants, "constexpr")}
    source = triton.compiler.ASTSource(getattr(kernels, attribute), signature, constants)
    return triton.compile(
        source, target=compiler.GPUTarget("cuda", capability, 32), options=options
    )


@pytest.mark.parametrize("name", ["move", "scale", "blur_rows"])
def test_kernel__compiles(name: str) -> None:
    assert compiled(name, 90, LARGE).asm["cubin"]


def test_move__rounds_product_and_sum_one_by_one() -> None:
    """A fused multiply-add would give other last bits than the loop over the tensors."""
    options = {"enable_fp_fusion": False}
    assert "fma" not in compiled("move", 90, LARGE, options).asm["ptx"]
    assert "fma" in compiled("move", 90, LARGE).asm["ptx"]


@pytest.mark.slow
@pytest.mark.parametrize("tile", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("capability", [70, 80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_kernel__compiles_for_every_generation(name: str, capability: int, tile: dict) -> None:
    assert compiled(name, capability, tile).asm["cubin"]
