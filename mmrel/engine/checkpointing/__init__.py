"""The parts of a safe checkpoint: which file to resume from, what may be written, which settings fit."""
