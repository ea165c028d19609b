"""What reports are made of: the page, its pictures, and what several pages say of a study."""
