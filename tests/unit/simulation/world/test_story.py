"""The story: columns that can be read, and bounded memory."""

from simulation.world.story import Story


def test_a_line_has_columns_time_who_what_and_detail() -> None:
    story = Story(seed=7)

    story.tell(1_500_000, "tenant r1", "admitted", "as spot at door 0")
    story.tell(31_000_001, "replicas", "now", "1 ready")

    assert str(story).splitlines() == [
        "seed=7",
        "    1.500000  tenant r1             admitted      as spot at door 0",
        "   31.000001  replicas              now           1 ready",
    ]


def test_only_the_last_lines_are_kept_and_the_story_says_how_many_are_forgotten() -> None:
    story = Story(seed=7, lines_max=2)

    for number in range(5):
        story.tell(number, "tenant", "event", str(number))

    assert str(story).splitlines()[0] == "seed=7 (3 earlier lines forgotten)"
    assert [line[-1] for line in story.lines()] == ["3", "4"]
