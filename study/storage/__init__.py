"""What a study keeps on disk, written whole or not at all, and read with suspicion."""
