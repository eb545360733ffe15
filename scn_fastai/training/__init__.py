"""The loop: head, callback, ledger, history, runs, and the recipes that go through it."""
