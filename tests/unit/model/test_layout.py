"""Layouts: their names, and which tensors have them."""

import pytest

from qsdnn.model.layer import Tensor
from qsdnn.model.segment import block_of, fits, told_layouts


def test_a_board_tells_layouts_among_other_things():
    told = ("FP32", "NCHWC", "layout:nchw16c", "layout:nhwc16", "layout:nchw0c", "ep:cuda/fp32")
    assert told_layouts(told) == ("nchw16c",)
    assert told_layouts(("FP32",)) == ()


def test_a_block_has_as_many_channels_as_its_name_says():
    assert [block_of(name) for name in ("nchw4c", "nchw16c")] == [4, 16]
    with pytest.raises(ValueError, match="no layout"):
        block_of("nchw")


@pytest.mark.parametrize(
    ("dtype", "shape", "wanted"),
    [
        ("float32", (1, 32, 3, 5), True),
        ("float32", (2, 16, 1, 1), True),
        ("float32", (1, 24, 3, 5), False),
        ("float32", (1, 16, 0, 5), False),
        ("float32", (1, 16, 5), False),
        ("float32", (1, 16, 2, 2, 2), False),
        ("float16", (1, 16, 2, 2), False),
        ("float32", None, False),
    ],
)
def test_images_of_whole_blocks_have_it(dtype, shape, wanted):
    assert fits("nchw16c", Tensor(name="t", dtype=dtype, shape=shape)) is wanted
