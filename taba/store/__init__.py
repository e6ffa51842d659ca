"""The stores: what keeps the logs, the States and the dedup rows of the vbuckets, behind `taba.interfaces.IStore`.

`memory` keeps everything in dicts and `embedded` in one SQLite database in a folder (`folder`). The rules that all
stores share are pure modules beside them: `judge` (lanes and checkpoints), `leases`, `pages` (how queries are given
out) and `arrivals` (who waits for the log to grow).
"""
