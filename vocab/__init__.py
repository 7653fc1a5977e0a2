"""Source codes to OMOP concepts: loads vocabularies, normalises UK codes, resolves them. Knows nothing of stages."""
