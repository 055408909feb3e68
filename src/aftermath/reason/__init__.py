"""What else would be different without it."""
