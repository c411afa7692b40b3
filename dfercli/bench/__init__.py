"""`dfer bench`: how fast this machine is, beside the published arithmetic."""
