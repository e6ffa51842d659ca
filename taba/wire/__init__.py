"""What goes over the network, as pure functions: bytes to frozen objects and back, without IO.

`frame` is the shape that all binary exchanges share; `v2` is protocol 2 between agents and servers, specified in
docs/reference/protocol-2.md. Whatever a peer sends is either understood or raises `taba.errors.FrameError`.
"""
