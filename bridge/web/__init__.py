"""Status page, metrics and health check over HTTP; loaded only where `[web] listen` is set."""
