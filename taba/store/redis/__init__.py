"""The store on Redis: every vbucket lives on one shard, a master with its replicas, followed through Sentinels.

`shard` keeps the connections to the present master of a shard; below it are `link` (one connection), `protocol` (the
wire), `access` (passwords and TLS), `sentinel` (who asks the Sentinels) and `following` (what their answers amount to,
pure).
"""
