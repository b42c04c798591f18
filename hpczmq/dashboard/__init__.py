"""`hpczmq top`: the cluster on one screen.

`board` is what is known, `screen` what the person before it wants to see, `frame` draws the two;
all three are pure. `shell` asks the cluster, reads keys, and paints frames on a terminal.
"""
