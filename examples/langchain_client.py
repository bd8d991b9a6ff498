"""Headrace as a chat model of LangChain, in a chain with a prompt and a parser.

pip install langchain-openai
[HEADRACE_API_KEY=…] python examples/langchain_client.py [http://127.0.0.1:8000]
"""

import os
import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
key = os.environ.get("HEADRACE_API_KEY", "none")
model = ChatOpenAI(base_url=f"{url}/v1", api_key=key, model="auto", max_tokens=48)
prompt = ChatPromptTemplate.from_messages([("user", "What kind of clause is this? {clause}")])
chain = prompt | model | StrOutputParser()

for clause in (
    "This Agreement shall be governed by the laws of the State of New York.",
    "Either party may terminate this Agreement upon thirty days' written notice.",
):
    print(clause, "->", chain.invoke({"clause": clause}))
