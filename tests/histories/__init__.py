"""Random histories of deliveries, lists, maps and settings: what nights make of them equals one full build."""
