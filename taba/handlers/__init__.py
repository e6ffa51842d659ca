"""The Types: one module per Handler, found through the registry.

A Handler is stateless and pure (`taba.interfaces.IHandler`). A new Type is one class, in any package that names it
under the entry point group `taba.handlers`, or by the setting ADDITIONAL_HANDLERS (`loading`); `custom` has a base.
"""
