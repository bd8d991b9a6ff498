"""Is an answer right? Scorers of single answers, and the logs that they label.

    item.py       what a scorer is given, and what each can do        scorers/   one for each kind of question
    label.py      a log's rows to labels, with log.py and lines.py    sandbox/   programs that nobody trusts, and tests
    requests.py   logs of chat requests, as people keep them          texts.py   what an answer says
    chat.py       a judge's endpoint

Knows texts, references and judges; knows no engine, no threshold and no price.
"""
