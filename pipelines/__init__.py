"""NHS extracts to OMOP: the stages of the nightly load, and what they share."""

__version__ = "0.1.0"
