"""What edgespec does on an accelerator, executed from end to end: `python -m scripts.check_gpu --backend vulkan`."""
