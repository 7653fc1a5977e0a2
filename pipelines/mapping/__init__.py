"""Mapping files (`mappings/<source>/mapping.yaml`): validated against contracts and compiled to columns."""
