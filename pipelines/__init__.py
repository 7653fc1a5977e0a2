"""NHS extracts to OMOP: the stages of the nightly load, named by the zone each one fills."""

__version__ = "0.1.0"
