"""The start-up check names the distribution that owns one of our top-level names."""

import pytest

from deploy.ownership import foreign_owners, ownership_problem


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        pytest.param({}, {}, id="an editable install owns nothing on paper"),
        pytest.param({"schemas": ["tokenpools"], "yaml": ["PyYAML"]}, {}, id="all names are ours"),
        pytest.param({"schemas": ["Tokenpools"]}, {}, id="case does not matter"),
        pytest.param(
            {"deploy": ["fabric-deploy"], "schemas": ["tokenpools"]},
            {"deploy": ("fabric-deploy",)},
            id="one name belongs to another distribution",
        ),
        pytest.param(
            {"schemas": ["tokenpools", "zed", "abc", "abc"]},
            {"schemas": ("abc", "zed")},
            id="several share a name with us",
        ),
        pytest.param({"tests": ["careless"]}, {}, id="tests are not a package of ours"),
    ],
)
def test_foreign_owners(owners: dict[str, list[str]], expected: dict[str, tuple[str, ...]]) -> None:
    assert foreign_owners(owners) == expected


def test_no_problem_is_none() -> None:
    assert ownership_problem({"schemas": ["tokenpools"]}) is None


def test_the_problem_names_the_package_the_other_owner_and_the_way_out() -> None:
    problem = ownership_problem({"deploy": ["fabric-deploy"], "schemas": ["tokenpools", "abc"]})

    assert problem == (
        "Another distribution owns names of tokenpools's packages: "
        "schemas (by abc); deploy (by fabric-deploy). "
        "Install tokenpools into an environment of its own, or uninstall the other one."
    )
