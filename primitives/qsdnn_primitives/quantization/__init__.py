"""Integers: the ranges of a network's tensors, and the ONNX nodes that quantize them."""
