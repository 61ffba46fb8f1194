"""Facts about single heads, as compact JSON that the page *Head* renders for the one that is chosen."""
