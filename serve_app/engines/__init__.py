"""What stands behind the Engine protocol of core.

`local` (torch, this process), `vllm` (vLLM, in an environment of its own), `remote` (servers elsewhere that speak
OpenAI's API) and `fake` (scripted, for tests). Importing this package imports none of them; only `engines.local` and
`engines.vllm` need torch. `backends.py` finds one by its name in the settings.

Adapters that come and go while calls are answered:

versions.py   AdapterHost, what such an engine can do; several versions of a name in one engine
following.py  what the registry says becomes what an engine holds
trial.py      what a version answers, before anybody can ask for it

What several of them do alike, knowing none of them:

prompt.py     from a call to token ids
sampling.py   how to pick tokens, every gap filled
text.py       from token ids to text up to a stop string
places.py     how many calls are under way at once, and who is next
groups.py     several calls of one query, side by side
deadline.py   an answer that has to come in time
estimates.py  entropy and margin where only the likeliest tokens are told
adapters.py   the adapter that a call names
tally.py      prompt tokens, and those that were reused
"""
