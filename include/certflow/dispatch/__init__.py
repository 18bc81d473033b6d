"""One package per exam: freeze the month, assemble, read back, approve, send."""
