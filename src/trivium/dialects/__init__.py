"""Wire formats, one file each, in both directions."""
