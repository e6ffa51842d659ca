"""What drives a Sender: one module for each way to run something beside the application.

Nothing is imported here: an engine's module is loaded when it is used, so that `import taba.client` stays small.
"""
