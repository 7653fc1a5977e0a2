"""What decides whether a run may be released: the ledger of rows and the gates on tables."""
