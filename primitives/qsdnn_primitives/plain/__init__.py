"""The plain form: ONNX operators without versions, negative axes, `auto_pad` or optional gaps.

An engine with a format of its own starts from this form. `translation` makes it from a layer's
nodes, and writes it as a file, which `qsdnn_runtime.engines.blas.program` reads on the board.
"""
