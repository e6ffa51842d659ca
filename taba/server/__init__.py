"""The server: takes batches into logs (`frontend`), folds logs into States (`backend`, `folding`), answers queries
(`query`, `http`).
"""
