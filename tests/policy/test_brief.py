"""What people are shown."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from policy.brief import Progress, brief, in_line, money, visible
from policy.call import Input
from policy.hold import State
from policy.operation import Money
from policy.verdict import Alternative, Approvals, Gate, Need
from tests.fakes.values import BODY, REFUND, a_call, a_hold


def test_the_first_sentence_says_what_will_happen_in_plain_words() -> None:
    shown = brief(a_hold(), BODY)
    assert shown.sentence == "Refund 250.00 EUR of charge ch_42, through stripe, prod"


def test_a_missing_amount_is_named_as_missing() -> None:
    call = a_call(input=Input(values={"charge": "ch_42"}))
    assert brief(a_hold(call), BODY).sentence.startswith("Refund (no amount given) of charge ch_42")


def test_amounts_are_written_with_the_currencys_own_digits() -> None:
    assert money(25_000, "eur") == "250.00 EUR"
    assert money(25_000, "jpy") == "25,000 JPY"
    assert money(25_000, "kwd") == "25.000 KWD"


def test_an_amount_without_a_currency_is_not_dressed_up_as_one() -> None:
    call = a_call(operation=replace(REFUND, money=Money(amount="amount")))
    assert "25000 minor units (currency not given)" in brief(a_hold(call), BODY).sentence


def test_bidi_and_zero_width_characters_are_spelled_out() -> None:
    call = a_call(input=Input(values={"charge": "ch_\u202e24\u200b"}))
    assert "ch_⟨U+202E⟩24⟨U+200B⟩" in brief(a_hold(call), BODY).sentence


@given(st.text())
def test_nothing_invisible_is_left_after_making_visible(text: str) -> None:
    assert visible(visible(text)) == visible(text)
    assert not any(character in visible(text) for character in "\x00\x1b\u202e\u2066\u200b\ufeff")


def test_a_body_is_shown_whole_or_says_how_much_is_hidden() -> None:
    assert brief(a_hold(), BODY).hidden_bytes == 0
    assert brief(a_hold(), b"x" * 70_000).hidden_bytes == 70_000 - 65_536


def test_a_number_that_pretty_printing_would_change_is_shown_as_it_came() -> None:
    assert "1.00000000000000000001" in brief(a_hold(), b'{"amount": 1.00000000000000000001}').body


def test_a_duplicate_key_is_shown_as_it_came() -> None:
    assert brief(a_hold(), b'{"amount": 1, "amount": 2}').body == '{"amount": 1, "amount": 2}'


def test_the_gate_says_what_it_needs() -> None:
    (gate,) = brief(a_hold(), BODY).gates
    assert (gate.label, gate.text) == ("refund-over-100", "1 of finance-leads")


def test_secrets_are_redacted_wherever_text_is_shown() -> None:
    call = a_call(input=Input(values={"charge": "sk_live_1"}), headers=(("x", "sk_live_1"),))
    shown = brief(a_hold(call), b"sk_live_1", redact=lambda text: text.replace("sk_live_1", "#"))
    assert "sk_live_1" not in (shown.body + shown.change[0].text + shown.headers[0].text)


def test_what_was_shown_does_not_change_with_votes_and_states() -> None:
    hold = a_hold()
    assert brief(hold, BODY).shown == brief(replace(hold, state=State.APPROVED, execute_by=5.0), BODY).shown
    assert brief(hold, BODY).shown != brief(hold, BODY.replace(b"ch_42", b"ch_43")).shown


TWO_LEADS_OR_THREE_OF_ANY = Gate(
    policy="big",
    any_of=(
        Alternative(needs=(Need(group="leads", people=2), Need(group="legal", people=1))),
        Alternative(needs=(Need(group="*", people=3),)),
    ),
)


def test_the_brief_says_how_much_of_each_need_is_there() -> None:
    hold = a_hold(gates=(TWO_LEADS_OR_THREE_OF_ANY,))
    shown = brief(hold, BODY, approvals=Approvals(count=4, quorum=frozenset({"leads:1", "others:9"})))
    assert shown.progress == (
        Progress(gate="big", group="leads", have=1, need=2),
        Progress(gate="big", group="legal", have=0, need=1),
        Progress(gate="big", group="*", have=3, need=3),
    )


def test_what_is_decided_needs_nothing_more() -> None:
    assert brief(a_hold(state=State.REJECTED), BODY).progress == ()


def test_what_was_shown_does_not_change_with_approvals() -> None:
    hold = a_hold()
    approvals = Approvals(count=1, quorum=frozenset({"finance-leads:1"}))
    assert brief(hold, BODY).progress != brief(hold, BODY, approvals=approvals).progress
    assert brief(hold, BODY).shown == brief(hold, BODY, approvals=approvals).shown


def test_the_brief_of_the_whole_hides_nothing_and_is_another_brief() -> None:
    body = b"x" * 65_536 + b"y" * 4_464
    part, whole = brief(a_hold(), body), brief(a_hold(), body, whole=True)
    assert (part.hidden_bytes, whole.hidden_bytes) == (4_464, 0)
    assert whole.body == body.decode()
    assert part.shown != whole.shown


def test_money_is_shown_as_money_and_as_it_is_sent() -> None:
    change = {line.label: line.text for line in brief(a_hold(), BODY).change}
    assert change["amount"] == "250.00 EUR (sent as 25000)"


def test_letters_that_look_like_nothing_are_spelled_out() -> None:
    hidden = "a\u3164\u115f\ufe0f\U000e0100\u2800\u034fb"
    assert visible(hidden) == "a⟨U+3164⟩⟨U+115F⟩⟨U+FE0F⟩⟨U+E0100⟩⟨U+2800⟩⟨U+034F⟩b"


def test_a_value_with_line_ends_does_not_pose_as_further_facts() -> None:
    call = a_call(input=Input(values={"charge": "ch_1\nowner: corp:ann"}))
    assert "\n" not in brief(a_hold(call), BODY).sentence
    assert in_line("a\n\tb") == "a⟨U+000A⟩⟨U+0009⟩b"


def test_a_secret_known_by_its_fields_name_is_redacted_in_the_change_and_in_the_sentence() -> None:
    call = a_call(input=Input(values={"password": "hunter2", "charge": "sk_live_1"}))
    shown = brief(a_hold(call), BODY, redact=lambda text: text.replace("password=hunter2", "#").replace("sk_live", "#"))
    assert "hunter2" not in str(shown.change)
    assert "sk_live" not in shown.sentence + str(shown.change)
