"""What stands behind the Engine protocol of core.

`local` (torch, this process), `remote` (servers elsewhere that speak OpenAI's API) and `fake` (scripted, for tests).
Importing this package imports none of them; only `engines.local` needs torch.
"""
