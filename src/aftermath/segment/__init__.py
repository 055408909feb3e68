"""Which pixels are the object."""
