"""Export to Paddle Inference and ONNX, verified against the network."""
