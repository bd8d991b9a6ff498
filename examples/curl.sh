#!/usr/bin/env bash
# Headrace by curl: what there is, one answer, a stream, and what it cost. URL: the first argument, else the demo's.
set -euo pipefail
url=${1:-http://127.0.0.1:8000}

echo "== models"
curl -sf "$url/v1/models" | jq -r '.data[] | "\(.id)\t\(.headrace.kind)"'

echo "== an answer"
curl -sf "$url/v1/chat/completions" -H 'content-type: application/json' -d '{
  "model": "auto", "max_tokens": 48,
  "messages": [{"role": "user", "content": "Find all files larger than 10 MB under the current directory"}]}' |
  jq '{answer: .choices[0].message.content, route: .headrace.route, escalated: .headrace.escalated, cost: .headrace.cost_usd}'

echo "== a stream"
curl -sfN "$url/v1/chat/completions" -H 'content-type: application/json' -d '{
  "model": "base", "max_tokens": 12, "stream": true, "messages": [{"role": "user", "content": "Say hello."}]}'

echo "== what the last hour cost"
curl -sf "$url/v1/ledger/stats?since=1h&group_by=route" | jq '.groups[] | {route, queries, cost_usd, saved_usd}'
