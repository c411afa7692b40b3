"""What lies on disk: atomic files, JSON lines, the face store, checkpoints and run folders."""
