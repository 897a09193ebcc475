"""``python -m headway.sim``: the process that `headway.sim.serving` starts. People use ``headway sim``."""

from headway.sim.server import child_main

if __name__ == "__main__":
    child_main()
