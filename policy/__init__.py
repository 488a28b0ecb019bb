"""The law: values in, rulings out.

This room decides who may do what to which call. It does no I/O: no sockets, clock, randomness, logging, files or
network. Time comes in as `now`, ids come in ready-made. Only `policy.engine` and `policy.bundle` speak Cedar.
"""
