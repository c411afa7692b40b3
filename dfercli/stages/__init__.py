"""The stages of the pipeline: `run(config, progress) -> result`, one file each."""
