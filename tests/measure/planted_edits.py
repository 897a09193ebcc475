"""Ten prompts as people write them, a good short version of each, and forty harmful edits planted into those.

Each edit drops or changes one thing that matters: a label, a rule, a negation or a number, the way a hasty rewrite does.
`bench/bench_compress.py` counts how many of them `compress` accepts; the short versions show what a guard must let pass.
Written before the guard was tried on them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["label", "rule", "negation", "number"]


class Planted(NamedTuple):
    """One harmful edit: in the good version, `find` becomes `replace`."""

    kind: Kind
    find: str
    replace: str = ""


class Prompt(NamedTuple):
    """A prompt, its labels, what its rows say of each label, a good version and four harmful edits of that."""

    name: str
    system: str
    labels: tuple[str, ...]
    says: dict[str, tuple[str, ...]]
    good: str
    edits: tuple[Planted, ...]


PROMPTS: tuple[Prompt, ...] = (
    Prompt(
        "tickets",
        """You are a highly experienced support agent who cares a lot about our customers. We would like you to read each
ticket very carefully and to decide which team it should be sent to. Your work is really important to us.

These are the teams that you can choose from:
- billing: anything that has to do with money, such as charges, invoices, refunds and prices
- technical: anything that has to do with errors, crashes or bugs in the app
- access: anything that has to do with passwords, logins and locked accounts
- delivery: anything that has to do with parcels and tracking

Please make sure that you never send a ticket to billing if it only asks what a product costs; such tickets belong to
delivery. If a ticket mentions a lawyer, it must always go to access, because our compliance people sit there. Tickets
that are older than 30 days should be sent to billing. Please do not use any team that is not in the list.

Thank you very much for your help!""",
        ("billing", "technical", "access", "delivery"),
        {
            "billing": (
                "I was charged twice on my invoice",
                "please refund the payment",
                "the invoice shows a wrong charge",
            ),
            "technical": (
                "the app shows an error and crashes",
                "there is a bug and the app freezes",
                "error after the update",
            ),
            "access": (
                "my password is rejected and the account is locked",
                "I cannot login",
                "reset my password please",
            ),
            "delivery": (
                "where is my parcel",
                "the tracking of my parcel has not moved",
                "the parcel was left outside",
            ),
        },
        """Route each ticket to a team:
- billing: money, such as charges, invoices, refunds, prices
- technical: errors, crashes or bugs in the app
- access: passwords, logins, locked accounts
- delivery: parcels and tracking

Never send a ticket to billing if it only asks what a product costs; such tickets belong to delivery. A ticket that
mentions a lawyer must go to access. Tickets older than 30 days go to billing. Do not use a team that is not in the list.""",
        (
            Planted("label", "- access: passwords, logins, locked accounts\n"),
            Planted("rule", " A ticket that\nmentions a lawyer must go to access."),
            Planted("negation", "Never send a ticket", "Send a ticket"),
            Planted("number", "older than 30 days", "older than 14 days"),
        ),
    ),
    Prompt(
        "reviews",
        """Act as an expert in analysing product reviews. In order to help our product managers, please classify the
sentiment of the review that we are going to give you. The sentiment has to be one of the following: positive, negative,
mixed or neutral.

It is important that you ignore what is said about the delivery, because that is not under our control. When a review
has at least 2 complaints and at least one praise, it is mixed. A review without any opinion is neutral. If the star
rating contradicts the text, please trust the text and not the stars. Do not treat irony as praise.""",
        ("positive", "negative", "mixed", "neutral"),
        {
            "positive": ("I love it, great quality", "excellent and I am very happy", "great, good value"),
            "negative": ("terrible, it is awful", "bad quality, I hate it", "poor and awful thing"),
            "mixed": ("mixed feelings about this one", "a mixed experience overall", "rather mixed in total"),
            "neutral": ("neutral about it, it is a cable", "no view, neutral", "a neutral note: it has four feet"),
        },
        """Classify the sentiment of the review as one of: positive, negative, mixed or neutral.

Ignore what is said about the delivery. At least 2 complaints and at least one praise: mixed. A review without any
opinion is neutral. If the star rating contradicts the text, trust the text and not the stars. Do not treat irony as
praise.""",
        (
            Planted("label", "positive, negative, mixed or neutral", "positive, negative or neutral"),
            Planted("rule", "Ignore what is said about the delivery. "),
            Planted("negation", "Do not treat irony as\npraise.", "Treat irony as praise."),
            Planted("number", "At least 2 complaints", "At least 5 complaints"),
        ),
    ),
    Prompt(
        "leads",
        """You are the world's best sales assistant. Your task is to look at the message of a person who filled in the form
on our website and to sort it into one of these categories: enterprise, startup, student, spam.

Companies with more than 500 employees are enterprise. Companies with fewer than 50 employees are startup. A person who
writes from an address that ends in ".edu" is a student, unless the message says that the university wants to buy
licences, in which case it is enterprise. Messages that offer search engine optimisation or backlinks are spam. You must
never choose spam only because the English is bad. If there is no company name, choose startup. Please be as accurate as
you can possibly be, because our sales team relies on you.""",
        ("enterprise", "startup", "student", "spam"),
        {
            "enterprise": (
                "we are an enterprise with many offices",
                "an enterprise plan for our group",
                "large enterprise here",
            ),
            "startup": ("a small startup of six people", "our startup needs a tool", "founder of a startup"),
            "student": ("I am a student at a university", "student discount for my thesis", "a student project"),
            "spam": ("cheap spam backlinks", "buy backlinks and spam now", "spam offers for your site"),
        },
        """Sort the form message into: enterprise, startup, student, spam.

- Companies with more than 500 employees: enterprise; with fewer than 50 employees: startup.
- An address that ends in ".edu": student, unless the message says the university wants to buy licences: then enterprise.
- Offers of search engine optimisation or backlinks: spam. Never choose spam only because the English is bad.
- No company name: startup.""",
        (
            Planted("label", "enterprise, startup, student, spam.", "enterprise, student, spam."),
            Planted("rule", "\n- No company name: startup."),
            Planted("negation", ", unless the message says the university wants to buy licences: then enterprise", ""),
            Planted("number", "more than 500 employees", "more than 50 employees"),
        ),
    ),
    Prompt(
        "urgency",
        """As an assistant for the maintenance team of a hospital, you will be given reports about faults in the building.
Please tell us how urgent each report is. The possible levels are: critical, high, normal, low.

Anything that could hurt a patient is critical. Water that is leaking near electrical equipment is always critical. A
broken lift is high, except when another lift in the same wing works, in which case it is normal. Faults in empty rooms
are low. A report must not be ranked lower because it is written in a calm way. If the same fault has been reported 3
times or more within 24 hours, raise it by one level. We cannot thank you enough for doing this, as it makes the hospital
a safer place.""",
        ("critical", "high", "normal", "low"),
        {
            "critical": (
                "critical: a patient could be hurt",
                "critical leak at the panel",
                "this is critical for a patient",
            ),
            "high": ("high priority, the lift is broken", "a high risk with the lift", "lift stuck, high"),
            "normal": ("normal wear at a door", "a normal request for paint", "normal noise of the fan"),
            "low": ("low: a lamp in an empty room", "an empty room, low", "low, nobody uses it"),
        },
        """Rank fault reports of a hospital building: critical, high, normal, low.

- Could hurt a patient: critical. Water leaking near electrical equipment: always critical.
- Broken lift: high, except when another lift in the same wing works: normal.
- Faults in empty rooms: low.
- A report must not be ranked lower because it is written in a calm way.
- Same fault reported 3 times or more within 24 hours: raise it one level.""",
        (
            Planted("label", "critical, high, normal, low", "critical, high, low"),
            Planted("rule", " Water leaking near electrical equipment: always critical."),
            Planted("negation", "must not be ranked lower", "may be ranked lower"),
            Planted("number", "within 24 hours", "within 48 hours"),
        ),
    ),
    Prompt(
        "moderation",
        """We run a forum for parents and we need your help to keep it friendly. I would like you to go through every post
and give it a label. The labels are allowed, insult, medical, advert.

A post that attacks another person is an insult; swearing alone is not an insult. A post that recommends a dose of a
medicine is medical, and so is a post that advises against a vaccine. Links to shops are an advert unless the poster is a
verified partner. Never label a post as an advert just because it names a brand. Posts with fewer than 5 words are
allowed. Quotes of other posts must be ignored. It is extremely important that you do this right.""",
        ("allowed", "insult", "medical", "advert"),
        {
            "allowed": ("this is allowed I think", "allowed talk about naps", "an allowed question about school"),
            "insult": ("you are an insult to us", "what an insult, idiot", "another insult from you"),
            "medical": ("medical dose of the syrup", "give this medical dose twice", "medical advice against it"),
            "advert": ("advert: buy in my shop", "an advert with a link", "see my advert in the shop"),
        },
        """Label each forum post: allowed, insult, medical, advert.

- Attacks another person: insult. Swearing alone is not an insult.
- Recommends a dose of a medicine, or advises against a vaccine: medical.
- Links to shops: advert, unless the poster is a verified partner. Never label a post advert just because it names a brand.
- Posts with fewer than 5 words: allowed. Ignore quotes of other posts.""",
        (
            Planted("label", "allowed, insult, medical, advert", "allowed, insult, advert"),
            Planted("rule", " Ignore quotes of other posts."),
            Planted("negation", "Swearing alone is not an insult.", "Swearing alone is an insult."),
            Planted("number", "fewer than 5 words", "fewer than 50 words"),
        ),
    ),
    Prompt(
        "summary",
        """You are a professional editor with decades of experience. Please write a summary of the meeting notes that you
find below. The summary should have at most 4 bullets, and each of the bullets should have no more than 15 words. Please
start each bullet with a verb.

You must name every decision together with the person who is responsible for it and the date by which it is due. Do not
mention anything that was only discussed without a decision. Never include salaries. Amounts of money are to be written
in euros with two decimals. If no decision was taken, write exactly "No decisions." and nothing else. Thanks a lot, we
really appreciate your work.""",
        (),
        {
            "": (
                "the budget was approved by Ana until Friday",
                "the team discussed the office move",
                "Tom ships the release",
            )
        },
        """Summarise the meeting notes in at most 4 bullets of no more than 15 words each; start each bullet with a verb.

Name every decision with the person responsible and the date it is due. Do not mention anything only discussed without a
decision. Never include salaries. Write amounts of money in euros with two decimals. If no decision was taken, write
exactly "No decisions." and nothing else.""",
        (
            Planted("label", '"No decisions."', '"None."'),
            Planted("rule", " Write amounts of money in euros with two decimals."),
            Planted("negation", "Never include salaries.", "Include salaries."),
            Planted("number", "at most 4 bullets", "at most 8 bullets"),
        ),
    ),
    Prompt(
        "extraction",
        """Your job is going to be to extract data from the text of invoices. Please return a JSON object with the keys
vendor, invoice_number, total, currency and due_date.

The date has to be written as YYYY-MM-DD. The total must be the amount including tax, not the net amount. If there is more
than one total, take the last one. A missing value must be null; you must not guess. The currency should be a code of 3
letters such as EUR or USD. Do not put the answer into a code block. Line items are not needed and should be left out. It
is essential for us that the data is right, because it goes into our accounting system.""",
        (),
        {"": ("Invoice A-17 of Acme, total 120 EUR", "Globex bill, total due 40 USD", "Initech, 90 EUR, due in May")},
        """Extract from the invoice a JSON object with the keys vendor, invoice_number, total, currency and due_date.

Write the date as YYYY-MM-DD. The total must be the amount including tax, not the net amount; if there is more than one
total, take the last one. A missing value must be null; do not guess. Currency: a code of 3 letters such as EUR or USD. Do
not put the answer into a code block. Leave out line items; they are not needed.""",
        (
            Planted(
                "label",
                "vendor, invoice_number, total, currency and due_date",
                "vendor, invoice_number, total and due_date",
            ),
            Planted("rule", "; if there is more than one\ntotal, take the last one"),
            Planted("negation", "do not guess", "guess if needed"),
            Planted("number", "a code of 3 letters", "a code of letters"),
        ),
    ),
    Prompt(
        "replies",
        """You are Mia, a warm and friendly member of the guest service team of a hotel. Please write a reply to the guest's
e-mail. Please write in the language of the guest. The reply should be between 40 and 80 words long.

Always thank the guest in the first sentence. Never promise a refund; only the manager may do that. If the guest wants to
cancel less than 48 hours before arrival, say that the first night will be charged. Do not use exclamation marks. Do not
offer a discount unless the guest has stayed with us before. Sign with "Mia, Guest Service". Every reply must have the
booking number in it. We are sure you will do a wonderful job.""",
        (),
        {
            "": (
                "I want to cancel my room for tomorrow",
                "is breakfast included in the price",
                "we loved our stay with you",
            )
        },
        """Reply to the guest's e-mail as Mia of the hotel's guest service, warm and friendly, in the guest's language, between
40 and 80 words.

Always thank the guest in the first sentence. Never promise a refund; only the manager may do that. If the guest wants to
cancel less than 48 hours before arrival, say that the first night will be charged. No exclamation marks. Offer no
discount unless the guest has stayed with us before. Sign with "Mia, Guest Service". Put the booking number into every
reply.""",
        (
            Planted("label", 'Sign with "Mia, Guest Service".', 'Sign with "Mia".'),
            Planted("rule", " Put the booking number into every\nreply."),
            Planted("negation", " unless the guest has stayed with us before", ""),
            Planted("number", "less than 48 hours before", "less than 24 hours before"),
        ),
    ),
    Prompt(
        "intents",
        """Hello! You will see one message of a customer of a bank, and we would be grateful if you could tell us the
customer's intent. Choose one of the intents card_lost, card_arrival, transfer_failed, top_up and change_pin.

When a customer says that a card was stolen, choose card_lost. When a customer asks how long a new card takes, choose
card_arrival. A transfer that is still pending after 2 working days counts as transfer_failed, but a transfer that is
pending for a shorter time does not. Choose top_up only if the money goes into the customer's own account. If two intents
fit, take the one that is mentioned first. Please do not answer with an intent that is not in the list, and please do not
explain your choice. Thank you so much in advance!""",
        ("card_lost", "card_arrival", "transfer_failed", "top_up", "change_pin"),
        {
            "card_lost": ("I lost my card on the bus", "my card was stolen", "card missing since Monday"),
            "card_arrival": ("when will my new card arrive", "the card delivery is late", "my card has not come"),
            "transfer_failed": (
                "my transfer failed again",
                "the transfer was declined",
                "a failed transfer to my landlord",
            ),
            "top_up": ("I want to top up by bank", "my top up is not there", "how can I top up"),
            "change_pin": ("I want to change my pin", "how do I change the pin", "new pin please"),
        },
        """Name the intent of a bank customer's message, one of card_lost, card_arrival, transfer_failed, top_up, change_pin.

- Card stolen: card_lost. How long a new card takes: card_arrival.
- A transfer still pending after 2 working days: transfer_failed; pending for a shorter time it does not count as that.
- top_up only if the money goes into the customer's own account.
- Two intents fit: take the one mentioned first.
- Do not answer with an intent that is not in the list; do not explain your choice.""",
        (
            Planted("label", "transfer_failed, top_up, change_pin", "transfer_failed, top_up"),
            Planted("rule", "\n- Two intents fit: take the one mentioned first."),
            Planted("negation", "top_up only if the money", "top_up if the money"),
            Planted("number", "after 2 working days", "after 7 working days"),
        ),
    ),
    Prompt(
        "jobs",
        """Imagine that you are a recruiter. Please have a look at the CV that is given to you and sort it into one of the
groups engineer, designer, analyst or other.

A person counts as an engineer with 2 or more years of programming. A person who has led a design team is a designer, even
if they also write code. People who mainly work with spreadsheets or SQL are analysts. Internships do not count as years.
Never take the age, the gender or the name into account. If the CV is not in English, choose other. CVs with fewer than
100 words are to be put into other. It goes without saying that this is a very important task.""",
        ("engineer", "designer", "analyst", "other"),
        {
            "engineer": ("software engineer with Python", "backend engineer for years", "engineer of embedded code"),
            "designer": ("lead designer of an agency", "a designer for mobile apps", "product designer"),
            "analyst": ("data analyst with SQL", "analyst using spreadsheets", "a business analyst"),
            "other": ("other things like catering", "none of it, other", "other: a pilot"),
        },
        """Sort the CV into engineer, designer, analyst or other.

- engineer: 2 or more years of programming; internships do not count as years.
- designer: has led a design team, even if they also write code.
- analyst: mainly works with spreadsheets or SQL.
- other: the CV is not in English, or has fewer than 100 words.

Never take age, gender or name into account.""",
        (
            Planted("label", "engineer, designer, analyst or other", "engineer, designer or other"),
            Planted("rule", "the CV is not in English, or has", "the CV has"),
            Planted(
                "negation",
                "\n\nNever take age, gender or name into account.",
                "\n\nTake age, gender and name into account.",
            ),
            Planted("number", "2 or more years", "2 years"),
        ),
    ),
)


def planted() -> list[tuple[Prompt, Planted, str]]:
    """All forty: the prompt, the edit, and the harmful rewrite. Each changes the good version."""
    found = []
    for prompt in PROMPTS:
        for edit in prompt.edits:
            harmful = prompt.good.replace(edit.find, edit.replace)
            assert harmful != prompt.good, (prompt.name, edit)
            found.append((prompt, edit, harmful))
    return found
