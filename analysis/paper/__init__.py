"""The paper: its figures, tables and claims, from records and by exact counts."""
