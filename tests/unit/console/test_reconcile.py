"""Does the reconciliation see every difference, and name it?"""

from __future__ import annotations

from console.reconcile import Reconciliation

ACME, BATCH = ("chat", "acme"), ("chat", "batch")


def test_equal_counts_have_no_drift() -> None:
    counts = {ACME: 10, BATCH: 5}

    compared = Reconciliation(emitted=counts, ledger=counts, clickhouse=counts)

    assert compared.agrees
    assert compared.line() == "reconciliation: emitted=15 ledger=15 clickhouse=15 drift=0"


def test_differences_of_two_entitlements_do_not_cancel_out() -> None:
    compared = Reconciliation(
        emitted={ACME: 10, BATCH: 5}, ledger={ACME: 9, BATCH: 6}, clickhouse={ACME: 10, BATCH: 5}
    )

    assert compared.drift == 2
    assert not compared.agrees


def test_an_entitlement_that_one_reader_lacks_is_drift() -> None:
    compared = Reconciliation(emitted={ACME: 10}, ledger={ACME: 10}, clickhouse={})

    assert compared.of_pool("chat") == (10, 10, 0, 10)


def test_a_reader_that_did_not_answer_is_no_agreement() -> None:
    compared = Reconciliation(emitted={}, ledger={}, clickhouse={}, problems=("away",))

    assert not compared.agrees
