"""What the language miniatures are made of: shipped English prose, and who pretrained what on it."""
