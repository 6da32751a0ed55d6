"""The status page, the metrics and the health check over HTTP; loaded only where `[web] listen` is set."""
