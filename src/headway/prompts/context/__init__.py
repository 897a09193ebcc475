"""Token budgets: a text in at most so many tokens, with what must be kept, and without cutting what may not be cut.

`fit` cuts a text; `ContextBudget` has a task do so with one of its columns, in a task file:

    [context]
    tokens_max = 6000                    # of the whole prompt, if that is to have a bound as well
    # chars_per_token = 3.6              # how tokens are estimated; see `Calibration`

    [context.document]                   # the column
    tokens_max = 2000
    how = "top_k"                        # or "truncate", "sections", "summarise"
    query = "{question}"                 # what relevance is judged by; by default the prompt without the column
    keep = ["## Terms", "re:^WARNING"]   # a section, lines, or any other text
    # tail, marker, marks, chunk_tokens: as in `fit`
    # model = "gpt-5.4-nano", window_tokens = 100000: who summarises, and how much at once
"""

from headway.prompts.context.counting import Calibration, counter_of
from headway.prompts.context.declared import Budgets, ContextBudget, budgets_of
from headway.prompts.context.fit import Fitted, fit
from headway.prompts.context.summarise import summarise

__all__ = ["Budgets", "Calibration", "ContextBudget", "Fitted", "budgets_of", "counter_of", "fit", "summarise"]
