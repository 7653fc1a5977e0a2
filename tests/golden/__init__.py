"""Golden patients: what was delivered of a person, and the OMOP rows that have to come of it. See README.md."""
