"""Integers: the ranges of a network's tensors, and the nodes that carry them in ONNX."""
