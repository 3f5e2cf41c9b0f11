"""The sources room: one connector a file behind the small protocol in `base`."""
