"""Expectation suites that a team adds as files, in the form of Great Expectations, judged with the gates."""
