"""Map and derive: silver rows of all sources to the tables of the OMOP CDM."""
