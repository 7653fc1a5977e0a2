"""Publications of a release for analysts: files and databases made from its table versions."""
