"""The store on disk: the outbox, passwords, panel states, backup and recovery."""
