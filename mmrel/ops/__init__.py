"""The mathematics: plain tensors in, plain tensors out.

These modules import torch and numpy only. They know no registry, no config and no process group.
"""
