"""The command `advise`: what is asked for, what can be changed, the search, and the patch."""
