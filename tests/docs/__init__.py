"""The pages of docs/: their examples run as they stand, and their links lead somewhere."""
