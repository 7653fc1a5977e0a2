"""Information governance: keys and opt-out lists."""
