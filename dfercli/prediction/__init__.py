"""`dfer predict`: who shows what, and when."""
