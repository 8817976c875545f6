"""A simulated fleet: real SSH servers on loopback with made-up GPUs and scripted faults (``quarterdeck demo``)."""
