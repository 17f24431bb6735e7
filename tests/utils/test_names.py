"""Names from data that become paths."""

import pytest

from mmrel.utils.names import check_distinct, checked_name, leads_down


@pytest.mark.parametrize(
    "name",
    ["cat", "n01440764", "737-800", "Boeing 747", "a..b", ".hidden", "caf\u00e9", "0", "console"],
)
def test_name__of_a_class_stays_as_it_is(name: str) -> None:
    assert checked_name(name, "a class") == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        (" ", "empty"),
        (".", "a step to another folder"),
        ("..", "a step to another folder"),
        ("../x", "separator"),
        ("/etc", "separator"),
        ("a\\b", "separator"),
        ("C:", "colon"),
        ("a\0", "control"),
        ("a\nb", "control"),
        ("a\u2028", "control"),
        ("CON", "device"),
        ("nul.txt", "device"),
        ("com1", "device"),
        ("a.", "ends with"),
        ("a ", "ends with"),
        ("x" * 256, "255 bytes"),
        ("\ud800", "control"),
        (3, "a int"),
        (None, "a NoneType"),
    ],
)
def test_name__that_leads_elsewhere_is_refused(name: object, why: str) -> None:
    with pytest.raises(ValueError, match=rf"class 3 is .*, which .*{why}.*correct it in the data"):
        checked_name(name, "class 3")


def test_names__that_are_one_folder_elsewhere() -> None:
    check_distinct(["cat", "dog", "cat"], "classes")
    with pytest.raises(ValueError, match="'cat' and 'Cat'"):
        check_distinct(["cat", "dog", "Cat"], "classes")
    with pytest.raises(ValueError, match="differ in nothing but case"):
        check_distinct(["caf\u00e9", "cafe\u0301"], "classes")


@pytest.mark.parametrize(
    ("path", "stays"),
    [
        ("a.jpg", True),
        ("a/b..jpg", True),
        ("../a", False),
        ("a/../../b", False),
        ("/a", False),
        ("", False),
        ("a\0", False),
    ],
)
def test_path__leads_down(path: str, stays: bool) -> None:
    assert leads_down(path) is stays
