"""Blocks kept on a local disk between a process and a store that is far away.

``store`` wraps a ``BlockStore``; ``cache`` is what readers and fillers see of it; ``log`` its segments,
within the budget; ``segment`` one of them, in ``format``; ``chains`` which go first; ``index`` what is where;
``folder`` whose the directory is.
"""
