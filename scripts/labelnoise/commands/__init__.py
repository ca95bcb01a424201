"""The commands of `labelnoise`, a module each: `add` gives it its parser.

What a command needs is imported when it runs, so that help and the others start without it.
"""
