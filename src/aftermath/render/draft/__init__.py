"""The embedded renderer: a background plate and moving layers, on any CPU."""
