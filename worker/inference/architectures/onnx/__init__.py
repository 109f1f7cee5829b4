"""Models in ONNX, run by ONNX Runtime as their cards say."""
