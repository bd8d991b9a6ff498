"""Headrace through the official OpenAI client: an answer, a stream, and what both cost.

pip install openai
[HEADRACE_API_KEY=…] python examples/openai_client.py [http://127.0.0.1:8000]
"""

import os
import sys

from openai import OpenAI

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
client = OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("HEADRACE_API_KEY", "none"))

answer = client.chat.completions.create(
    model="auto",
    messages=[{"role": "user", "content": "What are the symptoms of iron deficiency?"}],
    max_tokens=64,
)
print(answer.choices[0].message.content)
account = answer.headrace
print(f"-- route {account['route']}, answered by {account['adapter'] or account['model']}, ${account['cost_usd']:.9f}")

stream = client.chat.completions.create(
    model="auto",
    messages=[{"role": "user", "content": "Find all files larger than 10 MB"}],
    max_tokens=64,
    stream=True,
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
account = chunk.headrace  # in the last chunk
print(f"\n-- escalated: {account['escalated']} ({account['reason']}), saved ${account['saved_usd']:.9f}")
