"""Curate: from identifiable bronze to de-identified silver. Nothing that names a person passes this stage."""
