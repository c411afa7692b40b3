"""`dfer data get`: fetching open data sets, and what to type where that is the user's step."""
