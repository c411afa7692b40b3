"""Run models on a device, export and describe them."""
