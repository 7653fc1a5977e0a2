"""Information governance: keys, opt-out lists, restricted codes."""
