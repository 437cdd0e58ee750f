"""What each stage of the loop does, as plain functions on files and arrays; no orchestrator, tracker or DVC in here."""
