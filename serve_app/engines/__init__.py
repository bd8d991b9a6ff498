"""What stands behind the Engine protocol of core: `local` (torch, this process) and `fake` (scripted, for tests).

Importing this package imports neither; `engines.fake` needs no torch.
"""
