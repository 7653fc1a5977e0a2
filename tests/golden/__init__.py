"""Golden patients: the delivered rows of a person, and the OMOP rows that they must become. See README.md."""
