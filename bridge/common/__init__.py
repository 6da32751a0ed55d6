"""What all rooms share: models, errors, clock, text, backoff."""
