"""From settings to runs to packs to jobs: pure functions, without files and without torch."""
