"""Models brought to a device, run, exported and described."""
