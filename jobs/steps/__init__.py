"""The steps of the nightly load: each reads tables, calls the pure functions of its stage and writes what they give."""
