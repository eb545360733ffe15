"""The loop: head, callback, ledger, history, and runs on disk."""
