"""Taba as real processes, over real sockets, in real time: started, asked, killed and starved as its users may do it.

REAL: everything here uses sockets, subprocesses, signals and the clock of the machine. Each test says what it cannot do
where it is skipped.
"""
