"""A small fuzz campaign; the large one is ``python tests/campaigns/fuzz.py``."""

import fuzz


def test_fuzz__no_undeclared_exception_and_no_hang() -> None:
    campaign = fuzz.run(cases=600, options=300, seed=1)
    assert not campaign.faults, campaign.report()
    outcomes = {outcome for _, outcome in campaign.outcomes}
    assert outcomes == {"read", "refused"} and sum(campaign.outcomes.values()) == 900
