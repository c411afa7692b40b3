"""`dfer data get`: fetch open data sets, or print the commands if fetching is the user's step."""
