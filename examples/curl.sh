#!/usr/bin/env bash
# Headrace by curl: what there is, one answer, a stream, and what it cost. URL: the first argument, else the demo's.
# Needs jq; a key, where the server has some, in HEADRACE_API_KEY.
set -euo pipefail
url=${1:-http://127.0.0.1:8000}
ask() { curl -sS --fail-with-body -H "authorization: Bearer ${HEADRACE_API_KEY:-none}" "$@"; }

echo "== models"
ask "$url/v1/models" | jq -r '.data[] | "\(.id)\t\(.headrace.kind)"'

echo "== an answer"
ask "$url/v1/chat/completions" -H 'content-type: application/json' -d '{
  "model": "auto", "max_tokens": 48,
  "messages": [{"role": "user", "content": "Find all files larger than 10 MB under the current directory"}]}' |
  jq '{answer: .choices[0].message.content, route: .headrace.route, escalated: .headrace.escalated, cost: .headrace.cost_usd}'

echo "== a stream"
ask -N "$url/v1/chat/completions" -H 'content-type: application/json' -d '{
  "model": "base", "max_tokens": 12, "stream": true, "messages": [{"role": "user", "content": "Say hello."}]}'

echo "== what the last hour cost"
ask "$url/v1/ledger/stats?since=1h&group_by=route" | jq '.groups[] | {route, queries, cost_usd, saved_usd}'
