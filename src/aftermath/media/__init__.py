"""Files in and out: PyAV decode and encode, masks, run folders."""
