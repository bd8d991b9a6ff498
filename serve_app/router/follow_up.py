"""English words that a turn may consist of without naming a topic: grammar, thanks, orders about the answer's form."""

FOLLOW_UP_WORDS = frozenset(
    # a paragraph reads better than 300 quoted words
    """
    a about above again ahead all alright also am an and another answer any anything are as ask asked at back be because
    been before below best better bit both briefly bullet but by can change clarify clear complete continue cool correct
    could detail detailed details did different do does doing don't done edit elaborate else enough even ever every
    exactly example examples expand explain explanation fair few fine first for form format from full fully further get
    give go going good got great had has have he hello her here hey hi him his how i i'd i'll i'm if in instead into is
    isn't it it's its just keep kind last less let let's like list little long longer look lot made make makes many
    maybe me mean means more most much must my need never new next nice no nope not now of off oh ok okay old on once
    one ones only or other others our out over own paragraph part perfect please point points possible put question
    quick really redo repeat rephrase rest rewrite right same say second see sentence sentences she short shorten
    shorter should show simple simpler simplify so some something sorry sounds specific start step steps still stop
    sum summarise summarize summary sure table tell than thank thanks that that's the their them then there these they
    thing things think third this those though three time to too true try two understand up us use very want was wasn't
    way we well were what what's when where which who why will with without won't words work works would write wrong
    yeah yep yes yet you your
    """.split()  # noqa: SIM905
)
