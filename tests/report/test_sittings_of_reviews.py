"""A review as the sitting it was: its own figures, and no order between figures of two kinds."""

from outweigh.app.sittings import of_review
from outweigh.report import review_document


def test_a_sitting_has_the_figures_of_its_review(make_facts):
    document = review_document(make_facts())

    sitting = of_review(document, "review.json")

    assert sitting["outcome"] == document["verdict"]["outcome"]
    for one, said in zip(sitting["variants"], document["variants"], strict=True):
        assert one["energy_j"] == said["energy_j_per_unit"]["value"]
        assert (one["energy_low_j"], one["energy_high_j"]) == (
            said["energy_j_per_unit"]["absolute_low"],
            said["energy_j_per_unit"]["absolute_high"],
        )
        assert one["quality"] == said["quality"]["value"]
        assert one["dominated_by"] == said["dominated_by"]


def test_a_document_that_ranks_a_counter_below_a_model_is_not_followed(make_facts):
    document = review_document(make_facts())
    first, second = document["variants"][:2]
    first |= {"method": "counter", "dominated_by": second["name"], "dominated_reason": "it says so"}

    seen = {one["variant"]: one for one in of_review(document, "review.json")["variants"]}[first["name"]]

    assert seen["kind"] == "measured"
    assert seen["dominated_by"] == ""
    assert "never ranked together" in seen["dominated_reason"]
