# Imports mmrel while a configuration is being read. `custom_imports` acts only after all bases are
# resolved, too late for `mmseg::` and `mmrel::` in them. So that a training tool which does not know
# mmrel can read a configuration too, this file stands first in `_base_`, before such a prefix.
__import__("mmrel")
