"""The configuration: models, where values come from, and an example."""
