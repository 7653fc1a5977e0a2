"""Who may see what: keys, opt-out lists, restricted codes."""
