"""The demo's scripted agent: four calls with the vendors' own SDKs, changed in nothing but base URL and key.

Run by `assentry demo` in a process of its own; what it prints is what an agent developer would see.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import openai
import stripe

_PATIENCE_S = 590
"""A held call is a slow call: the Stripe SDK's own 80 seconds are too few for people who read first."""


def main() -> int:
    """Make the four calls one after the other; 0 when each ended in an answer or in the SDK's own exception."""
    gate, token, key = (os.environ[name] for name in ("DEMO_GATE", "DEMO_TOKEN", "DEMO_KEY"))
    models = openai.OpenAI(base_url=f"{gate}/openai/v1", api_key=token, max_retries=0)
    session = stripe.RequestsClient(timeout=_PATIENCE_S)
    payments = stripe.StripeClient(
        key, base_addresses={"api": f"{gate}/stripe"}, http_client=session, max_network_retries=0
    )
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("asks the model what to do about charge ch_1042", lambda: _ask(models)),
        ("tries to pay 9,000.00 EUR out to its own account", lambda: _pay_out(payments)),
        ("refunds 250.00 EUR", lambda: _refund(payments, 25_000)),
        ("refunds 2,500.00 EUR", lambda: _refund(payments, 250_000)),
    )
    for what, step in steps:
        _say(f"agent  > {what}")
        try:
            _say(f"agent  < {step()}")
        except (openai.APIError, stripe.StripeError) as refused:
            _say(f"agent  < {type(refused).__name__}: {_sentence(refused)}")
    _say("agent    is done.")
    return 0


def _ask(models: openai.OpenAI) -> str:
    answer = models.chat.completions.create(
        model="gpt-demo", messages=[{"role": "user", "content": "What about charge ch_1042?"}]
    )
    return f"allowed: {answer.choices[0].message.content}"


def _pay_out(payments: stripe.StripeClient) -> str:
    payout = payments.v1.payouts.create({"amount": 900_000, "currency": "eur"})
    return f"paid out: {payout.id}"


def _refund(payments: stripe.StripeClient, amount: int) -> str:
    refund = payments.v1.refunds.create({"charge": "ch_1042", "amount": amount})
    return f"refunded: {refund.id}, {refund.amount / 100:,.2f} {refund.currency.upper()}, {refund.status}"


def _sentence(refused: openai.APIError | stripe.StripeError) -> str:
    if isinstance(refused, openai.APIError):
        return refused.message
    return refused.user_message or str(refused)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
