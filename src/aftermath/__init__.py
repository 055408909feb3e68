"""Remove an object from a video together with everything it caused."""
