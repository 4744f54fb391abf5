"""Small changes drawn by chance, by the hundred, and what the tests say of each: see `__main__`."""
