"""The command `advise`: goals, levers, the search, the report and the patch."""
