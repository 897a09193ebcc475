"""Jobs: files of work through the engine, resumable and in order."""
