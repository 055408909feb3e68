"""New pixels."""
