"""Documents: what a folder holds, read as text; each made into a row of output as it is done; resumable."""
