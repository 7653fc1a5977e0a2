"""The map stage: silver rows to OMOP tables. `build` shows the way of the data."""
