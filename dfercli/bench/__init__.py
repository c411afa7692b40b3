"""`dfer bench`: how fast this machine is, compared with the published arithmetic."""
