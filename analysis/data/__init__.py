"""The tables of studies, read and checked."""
