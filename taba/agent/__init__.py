"""The agent: takes events, keeps them durably, and forwards them to servers, each exactly once.

Pure: `intake` (numbers of client batches, the open commit), `sealing` (numbers of lanes), `records` and `recovery`
(the spool's bytes), `lanes` (delivery), `endpoints`. Blocking: `spool`. With a reactor: `committer`, `forwarder`,
`service`, `http`.
"""
