"""Layers as steps: what stays in blocks, and what is refused before anything is built."""

import numpy as np
import onnx_ir as ir
import pytest

from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.composition import composed
from qsdnn_primitives.lne.lowering import inputs_of, lower
from qsdnn_primitives.lne.tensor import Tensor
from qsdnn_primitives.plain.node import Op, UnsupportedError

LANES = 8


def _value(name, *shape):
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def _constant(name, array):
    value = _value(name, *array.shape)
    value.const_value = ir.tensor(array)
    return value


def _conv(x, y):
    channels = (y.shape[1], x.shape[1])
    rank = len(x.shape) - 2
    weights = _constant(f"w of {y.name}", np.ones((*channels, *[1] * rank), np.float32))
    attributes = {
        "strides": [1] * rank, "dilations": [1] * rank, "begins": [0] * rank, "group": 1,
    }  # fmt: skip
    return Op(kind="Conv", inputs=(x, weights), outputs=(y,), attributes=attributes)


def _steps(*ops):
    builder = Builder(LANES)
    for value in inputs_of(ops):
        builder.take(value, Tensor(size=int(np.prod(value.shape)), buffer=value.name))
    lower(builder, ops, [value.name for value in ops[-1].outputs], "direct")
    return builder.steps


def _kernels(*ops):
    return [step.kernel for step in _steps(*ops)]


def _joined(y, *parts):
    return Op(kind="Concat", inputs=parts, outputs=(y,), attributes={"axis": 1})


def _sliced(x, y, starts, steps):
    return Op(
        kind="Slice", inputs=(x,), outputs=(y,), attributes={"starts": starts, "steps": steps}
    )


def test_parts_of_whole_blocks_are_no_steps():
    x, y = _value("x", 1, 16, 5, 5), _value("y", 1, 24, 5, 5)
    parts = [_value("a", 1, 8, 5, 5), _value("b", 1, 16, 5, 5)]
    split = Op(kind="Split", inputs=(y,), outputs=tuple(parts), attributes={"axis": 1})
    back = _joined(_value("z", 1, 24, 5, 5), parts[1], parts[0])
    assert _kernels(_conv(x, y), split) == ["pack", "convolution"]
    assert _kernels(_conv(x, y), split, back) == ["pack", "convolution", "copy", "copy"]


def test_parts_that_begin_within_a_block_are_picked_when_they_are_read():
    x, y = _value("x", 1, 16, 5, 5), _value("y", 1, 20, 5, 5)
    parts = [_value("a", 1, 10, 5, 5), _value("b", 1, 10, 5, 5)]
    split = Op(kind="Split", inputs=(y,), outputs=tuple(parts), attributes={"axis": 1})
    assert _kernels(_conv(x, y), split) == ["pack", "convolution"]
    read = [_conv(part, _value(f"{part.name}'", 1, 8, 5, 5)) for part in parts]
    kernels = _kernels(_conv(x, y), split, *read)
    assert kernels == ["pack", "convolution", "convolution", "pick", "convolution"]
    made, joined = [_value("c", 1, 10, 5, 5), _value("d", 1, 10, 5, 5)], _value("z", 1, 20, 5, 5)
    kernels = _kernels(
        _conv(x, made[0]), _conv(x, made[1]), _joined(joined, *made),
        _conv(joined, _value("o", 1, 8, 5, 5)),
    )  # fmt: skip
    assert kernels == ["pack", "convolution", "convolution", "pick", "convolution"]


def test_a_shuffle_between_a_join_and_a_split_moves_what_is_read_once():
    x, near, far = _value("x", 1, 16, 5, 5), _value("n", 1, 10, 5, 5), _value("f", 1, 10, 5, 5)
    whole = _value("w", 1, 20, 5, 5)
    folded, turned = _value("2x10", 1, 2, 10, 5, 5), _value("10x2", 1, 10, 2, 5, 5)
    mixed, parts = _value("m", 1, 20, 5, 5), [_value(name, 1, 10, 5, 5) for name in "ab"]
    last, output = _value("l", 1, 10, 5, 5), _value("o", 1, 20, 5, 5)
    steps = _steps(
        _conv(x, near),
        _conv(x, far),
        _joined(whole, near, far),
        Op(kind="Reshape", inputs=(whole,), outputs=(folded,)),
        Op(
            kind="Transpose", inputs=(folded,), outputs=(turned,),
            attributes={"shape": [1, 2, 10, 5, 5], "perm": [0, 2, 1, 3, 4]},
        ),
        Op(kind="Reshape", inputs=(turned,), outputs=(mixed,)),
        Op(kind="Split", inputs=(mixed,), outputs=tuple(parts), attributes={"axis": 1}),
        _conv(parts[1], last),
        _joined(output, parts[0], last),
    )  # fmt: skip
    kernels = ["pack", "convolution", "convolution", "pick", "convolution", "pick"]
    assert [step.kernel for step in steps] == kernels
    picked = [step.arguments()["channels"][:10] for step in steps if step.kernel == "pick"]
    places = np.stack([np.arange(10), 16 + np.arange(10)], 1).reshape(-1)  # each from a block on
    assert [list(numbers) for numbers in picked] == [list(places[10:]), list(places[:10])]


def test_a_slice_of_rows_and_columns_is_a_copy():
    x, y = _value("x", 1, 16, 5, 5), _value("y", 1, 16, 5, 5)
    whole = _sliced(y, _value("z", 1, 8, 5, 5), [0, 8, 0, 0], [1, 1, 1, 1])
    assert _kernels(_conv(x, y), whole) == ["pack", "convolution"]
    inner = _sliced(y, _value("z", 1, 16, 2, 3), [0, 0, 0, 1], [1, 1, 2, 1])
    assert _kernels(_conv(x, y), inner) == ["pack", "convolution", "copy"]


def test_a_shuffle_stays_in_blocks():
    x, y = _value("x", 1, 16, 5, 5), _value("y", 1, 24, 5, 5)
    folded, turned = _value("f", 1, 2, 12, 5, 5), _value("t", 1, 12, 2, 5, 5)
    attributes = {"shape": [1, 2, 12, 5, 5], "perm": [0, 2, 1, 3, 4]}
    kernels = _kernels(
        _conv(x, y),
        Op(kind="Reshape", inputs=(y,), outputs=(folded,)),
        Op(kind="Transpose", inputs=(folded,), outputs=(turned,), attributes=attributes),
        Op(kind="Reshape", inputs=(turned,), outputs=(_value("z", 1, 24, 5, 5),)),
        _conv(_value("z", 1, 24, 5, 5), _value("o", 1, 8, 5, 5)),
    )
    assert kernels == ["pack", "convolution", "pick", "convolution"]


def test_constants_of_each_channel_go_on_from_block_to_block():
    x, y = _value("x", 1, 16, 5, 5), _value("y", 1, 24, 5, 5)
    slopes = _constant("s", np.ones((24, 1, 1), np.float32))
    slope = Op(kind="PRelu", inputs=(y, slopes), outputs=(_value("z", 1, 24, 5, 5),))
    assert _steps(_conv(x, y), slope)[-1].arguments()["z_block"] == LANES


def test_images_of_a_batch_stay_in_blocks():
    x, y, z = (_value(name, 3, 16, 5, 5) for name in "xyz")
    kernels = _kernels(_conv(x, y), _conv(y, z))
    assert kernels.count("pack") == 3 and kernels.count("convolution") == 6


def test_a_scaled_product_of_activations_does_not_scale_what_is_added():
    x, z, y = _value("x", 4, 3), _value("z", 3, 8), _value("y", 4, 8)
    added = _constant("c", np.ones(8, np.float32))
    attributes = {"alpha": 0.5, "beta": 1.0, "transA": 0, "transB": 0}
    found = composed([Op(kind="Gemm", inputs=(x, z, added), outputs=(y,), attributes=attributes)])
    assert [op.kind for op in found] == ["Gemm", "Scale", "Add"]
    assert found[0].inputs == (x, z) and found[2].outputs == (y,)


def _refused(op):
    with pytest.raises(UnsupportedError):
        _kernels(op)


def test_what_is_refused():
    _refused(_conv(_value("x", 99, 4, 6, 6), _value("y", 99, 4, 6, 6)))
    index, numbers = _value("i", 2), _constant("n", np.array([0, 7]))
    for chosen in (index, numbers):  # computed, and beyond the end
        _refused(
            Op(
                kind="Gather", inputs=(_value("x", 6, 4), chosen), outputs=(_value("y", 2, 4),),
                attributes={"axis": 0},
            )
        )  # fmt: skip
    pairs = tuple(_value(name, 99, 4, 4) for name in "xz")
    _refused(Op(kind="MatMul", inputs=pairs, outputs=(_value("y", 99, 4, 4),)))
    constant = _constant("c", np.ones((2, 3), np.float32))
    _refused(Op(kind="Reshape", inputs=(constant,), outputs=(_value("y", 3, 2),)))


def test_a_product_adds_and_scales_as_it_writes():
    x, y, z, o = (_value(name, 1, 5, 16) for name in "xyzo")
    product = Op(
        kind="MatMul", inputs=(x, _constant("w", np.ones((16, 16), np.float32))), outputs=(y,)
    )
    bias = Op(kind="Add", inputs=(_constant("b", np.ones(16, np.float32)), y), outputs=(z,))
    half = Op(kind="Div", inputs=(z, _constant("two", np.float32([2]))), outputs=(o,))
    (step,) = _steps(*composed([product, bias, half]))
    assert (step.kernel, step.arguments()["alpha"]) == ("convolution", 0.5)
    assert np.all(step.arguments()["b"] == 1)
    of_rows = Op(kind="Add", inputs=(y, _constant("r", np.ones((5, 1), np.float32))), outputs=(z,))
    assert _kernels(product, of_rows) == ["convolution", "binary"]


@pytest.mark.parametrize("first", ["halved", "times"])
def test_a_gelu_of_several_operators_is_part_of_a_product(first):
    x, y, a, b, c, d, o = (_value(name, 1, 5, 16) for name in "xyabcdo")
    number = {n: _constant(f"{n}", np.float32(n)) for n in (0.5, 1, np.sqrt(2))}
    ops = [
        Op(kind="MatMul", inputs=(x, _constant("w", np.ones((16, 16), "f4"))), outputs=(y,)),
        Op(kind="Div", inputs=(y, number[np.sqrt(2)]), outputs=(a,)),
        Op(kind="Erf", inputs=(a,), outputs=(b,)),
        Op(kind="Add", inputs=(b, number[1]), outputs=(c,)),
        *(
            [
                Op(kind="Mul", inputs=(y, number[0.5]), outputs=(d,)),
                Op(kind="Mul", inputs=(d, c), outputs=(o,)),
            ]
            if first == "halved"
            else [
                Op(kind="Mul", inputs=(y, c), outputs=(d,)),
                Op(kind="Mul", inputs=(number[0.5], d), outputs=(o,)),
            ]
        ),
    ]
    assert _kernels(*composed(ops)) == ["convolution"]
    ops[3] = Op(kind="Add", inputs=(b, number[0.5]), outputs=(c,))
    assert len(_kernels(*composed(ops))) > 2


def test_channels_go_last_and_back_block_by_block():
    x, y, last, z = (_value("x", 1, 16, 5, 6), _value("y", 1, 20, 5, 6),
                     _value("l", 1, 5, 6, 20), _value("z", 1, 20, 5, 6))  # fmt: skip
    to_last = {"shape": [1, 20, 5, 6], "perm": [0, 2, 3, 1]}
    back = {"shape": [1, 5, 6, 20], "perm": [0, 3, 1, 2]}
    kernels = _kernels(
        _conv(x, y),
        Op(kind="Transpose", inputs=(y,), outputs=(last,), attributes=to_last),
        Op(kind="Relu", inputs=(last,), outputs=(_value("r", 1, 5, 6, 20),)),
        Op(kind="Transpose", inputs=(_value("r", 1, 5, 6, 20),), outputs=(z,), attributes=back),
        _conv(z, _value("o", 1, 8, 5, 6)),
    )
    moves = ["move", "move"]  # whole blocks, and the rest
    assert kernels == ["pack", "convolution", *moves, "unary", *moves, "convolution"]
