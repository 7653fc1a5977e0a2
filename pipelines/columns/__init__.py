"""Named column expressions, one topic a module."""
