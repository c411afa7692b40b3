"""`dfer preprocess` and `dfer data`: sources to face stores."""
