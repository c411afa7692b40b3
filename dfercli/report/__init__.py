"""Tables, plots, annotated video and HTML."""
