"""The Types: one module per Handler, found through the registry.

A Handler is stateless and pure (`taba.interfaces.IHandler`); a new Type is one class, in this package or in any other
that names it under the entry point group `taba.handlers`.
"""
