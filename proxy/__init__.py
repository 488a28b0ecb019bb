"""The clerk: sockets, tokens, the store, the ledger. It asks the law and carries out the ruling.

Start reading at `proxy.gate` (the path of a call) and `proxy.desk` (the path of a click).
"""
