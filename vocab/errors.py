"""Errors of the vocabulary package."""


class VocabularyError(Exception):
    """A vocabulary is missing or unusable; the message names the file, what was expected and the next step."""

    exit_code = 18
