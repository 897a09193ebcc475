"""Two variants on the same rows: which is faster, cheaper, and no worse; told with intervals."""
