"""Models held against PET that was measured: who is asked, what they answer, what it is worth.

Between ``core`` (how a number is computed) and ``cli`` (what was asked for): this room loads
checkpoints and images, and turns them into rows, one participant at a time.
"""
