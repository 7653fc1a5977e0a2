"""OpenLineage events of runs, from the declared tables that they made: names, columns and results, never a row of data."""
