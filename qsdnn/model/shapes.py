"""The static dimensions that every input of a model is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from qsdnn.errors import ModelError, unknown

Dimensions = onnx.TensorShapeProto


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller feeds: old models list their initializers as inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in weights]


def drop_default_inputs(model: onnx.ModelProto) -> None:
    """Takes initializers out of the inputs, in place: engines then know that they are constant."""
    inputs = graph_inputs(model.graph)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # before it, every initializer had to be an input


def fix_shapes(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], where: str
) -> dict[str, tuple[int, ...]]:
    """Sets the dimensions of the inputs, in place; a symbol has one value everywhere.

    Args:
        model: The network.
        shapes: The dimensions by input name; only dynamic inputs need them.
        where: The name of the file, for messages.

    Returns:
        The shape of each tensor input.

    Raises:
        InputError: `shapes` names an unknown input.
        ModelError: `shapes` contradicts the model, or an input is still dynamic.
    """
    inputs = {value.name: value for value in graph_inputs(model.graph)}
    symbols: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise unknown("input", name, inputs)
        _fix(inputs[name], tuple(shape), symbols, where)
    tensors = [value for value in inputs.values() if _dimensions(value) is not None]
    _substitute([*tensors, *model.graph.output], symbols)
    if shapes:
        del model.graph.value_info[:]  # what it says of other shapes is inferred anew
    dynamic = [v for v in inputs.values() if v.type.HasField("tensor_type") and not _is_static(v)]
    if dynamic:
        raise _still_dynamic(dynamic, where)
    return {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in tensors
    }


def _dimensions(value: onnx.ValueInfoProto) -> Dimensions | None:
    """The dimensions of a value; None when its rank is not known, or it is no tensor."""
    tensor = value.type.tensor_type if value.type.HasField("tensor_type") else None
    return tensor.shape if tensor is not None and tensor.HasField("shape") else None


def _is_dynamic(dimension: onnx.TensorShapeProto.Dimension) -> bool:
    # Some exporters write -1 for what they do not know.
    return not dimension.HasField("dim_value") or dimension.dim_value < 0


def _is_static(value: onnx.ValueInfoProto) -> bool:
    dimensions = _dimensions(value)
    return dimensions is not None and not any(_is_dynamic(d) for d in dimensions.dim)


def _fix(
    value: onnx.ValueInfoProto, shape: tuple[int, ...], symbols: dict[str, int], where: str
) -> None:
    wanted = ",".join(map(str, shape))
    what = f"{where}: --shape {value.name}={wanted}"
    if any(size < 0 for size in shape):
        raise ModelError(f"{what}: dimensions cannot be negative")
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"{what}: the input is no tensor")
    dimensions = _dimensions(value)
    declared = list(dimensions.dim) if dimensions is not None else None
    if declared is None:
        value.type.tensor_type.shape.dim.extend(Dimensions.Dimension() for _ in shape)
        declared = list(value.type.tensor_type.shape.dim)
    if len(declared) != len(shape):
        raise ModelError(
            f"{what}: {len(shape)} dimensions, the input has {len(declared)}: {_written(value)}",
            hint=f"for example --shape {_example(value)}",
        )
    for dimension, size in zip(declared, shape, strict=True):
        known = symbols.get(dimension.dim_param) if dimension.dim_param else None
        if not _is_dynamic(dimension):
            known = dimension.dim_value
        if known not in (None, size):
            raise ModelError(
                f"{what}: the model fixes the dimensions {_written(value)}",
                hint=f"for example --shape {_example(value, symbols)}",
            )
        if dimension.dim_param:
            symbols[dimension.dim_param] = size
        dimension.dim_value = size


def _substitute(values: Iterable[onnx.ValueInfoProto], symbols: Mapping[str, int]) -> None:
    for value in values:
        dimensions = _dimensions(value)
        for dimension in dimensions.dim if dimensions is not None else ():
            if dimension.dim_param in symbols:
                dimension.dim_value = symbols[dimension.dim_param]


def _still_dynamic(inputs: list[onnx.ValueInfoProto], where: str) -> ModelError:
    each = ", ".join(f"'{value.name}' is {_written(value)}" for value in inputs)
    options = " ".join(f"--shape {_example(value)}" for value in inputs)
    return ModelError(
        f"{where}: the shape of the input must be known: {each}", hint=f"for example: {options}"
    )


def _written(value: onnx.ValueInfoProto) -> str:
    """The shape of a value for people, e.g. ``(batch, 3, ?, 224)``."""
    dimensions = _dimensions(value)
    if dimensions is None:
        return "of unknown rank"
    sizes = [d.dim_param or "?" if _is_dynamic(d) else str(d.dim_value) for d in dimensions.dim]
    return f"({', '.join(sizes)})"


def _example(value: onnx.ValueInfoProto, symbols: Mapping[str, int] | None = None) -> str:
    """An example to type after ``--shape``: one image of 224 by 224, a sequence of 128."""
    dimensions = _dimensions(value)
    if dimensions is None:
        return f"{value.name}=1,3,224,224"
    image = len(dimensions.dim) == 4
    likely = [1, 3, 224, 224] if image else [1] + [128] * len(dimensions.dim)
    sizes = [
        (symbols or {}).get(d.dim_param, likely[axis]) if _is_dynamic(d) else d.dim_value
        for axis, d in enumerate(dimensions.dim)
    ]
    return f"{value.name}={','.join(map(str, sizes))}"
