"""What every client of an OpenAI-compatible server needs: address, key, what refusals say, how long to wait.

Knows no settings, and neither what is asked nor who asks it. Nothing here repeats a key.
"""

from serve_app.endpoints.address import api_root
from serve_app.endpoints.key import key_of
from serve_app.endpoints.refusal import Refusal, read_refusal
from serve_app.endpoints.waits import jittered_s, rate_limit_wait_s, retry_after_s

__all__ = ["Refusal", "api_root", "jittered_s", "key_of", "rate_limit_wait_s", "read_refusal", "retry_after_s"]
