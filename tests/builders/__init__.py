"""Builders of test inputs: deliveries, opt-out lists."""
