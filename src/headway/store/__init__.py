"""Where answers and the record of calls are kept: memory, SQLite, the call log."""
