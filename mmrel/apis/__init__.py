"""What the tools are made of: the stages of the quickstart and their bookkeeping."""
