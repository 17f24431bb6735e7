"""From a command line to a running ``Runner``: options, processes, device."""
