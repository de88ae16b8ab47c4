"""Many songs: a job as data, its shards, and a worker that may be started again at any time.

No scheduler, no queue and no leases: a cluster's own, or Ray's.
"""
