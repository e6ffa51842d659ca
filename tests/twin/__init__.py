"""The twin: every kernel of the native core once more, in plain Python, as the oracle of its tests.

It is written from docs/reference/ and from the comments of native/include/taba.h, not from the C, and says the same
with other means: bucket boundaries come from integer arithmetic instead of tables, a body is read as a whole instead
of as it arrives, and a decoder refuses what its own encoder would not have written. It is slow and simple on purpose.
`tests/native/` shows that both sides agree bit for bit.
"""
