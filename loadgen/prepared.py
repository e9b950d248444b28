"""What the fork server of a load's processes imports, and nobody else: it then has modules and kernels at hand, and so has each process
that is forked from it. Three seconds of CPU for all, instead of for each."""

from loadgen.process import warm_up

warm_up()
