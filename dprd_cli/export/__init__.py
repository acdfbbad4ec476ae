"""Networks for other runtimes: ONNX and torch.export, and their comparison with PyTorch."""
