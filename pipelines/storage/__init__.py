"""The only reader and writer of files and tables."""
