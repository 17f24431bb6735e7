"""VOC's XML files: what is read, and what is refused with which words."""

from pathlib import Path

import annotated
import pytest
from annotated import xml_object

from mmrel.datasets.annotations.voc import of_split, read_voc
from mmrel.utils import UsageError


def test_read__boxes_and_classes(tmp_path: Path) -> None:
    first = annotated.write_xml(tmp_path, "b", xml_object() + xml_object("ant", (1.5, 2, 9, 8), 1))
    second = annotated.write_xml(tmp_path, "a", "")
    data = read_voc([first, second], tmp_path)
    assert data.classes == ("ant", "cat")
    assert [image.path.name for image in data.images] == ["a.png", "b.png"]
    assert [len(image.objects) for image in data.images] == [0, 2]
    cat, ant = data.images[1].objects
    assert (cat.box, cat.crowd, cat.segmentation) == ((5, 6, 20, 14), False, None)
    assert (ant.box, ant.crowd) == ((1.5, 2, 7.5, 6), True)
    assert [i.path.name for i in of_split(data, ["b"], tmp_path).images] == ["b.png"]
    with pytest.raises(UsageError, match="names 1 images without an XML file, such as 'c'"):
        of_split(data, ["c"], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a", "cannot be read as XML"),
        ("<svg></svg>", "outermost element is <svg>, wanted <annotation>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declares a document type or entities"),
        ("<annotation><filename>no.jpg</filename></annotation>", "image of .*'no.jpg', is missing"),
    ],
)
def test_refused__files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as raised:
        read_voc([path], tmp_path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("objects", "size", "message"),
    [
        (xml_object(""), annotated.SIZE, "an object has no <name>"),
        (xml_object(box=("a", 1, 2, 3)), annotated.SIZE, "object 'cat' has the box {'xmin': 'a'"),
        (xml_object(box=("nan", 1, 2, 3)), annotated.SIZE, "object 'cat' has the box"),
        (xml_object(), (41, 30), "has 41x30 pixels .* it has 40x30"),
        (xml_object() + xml_object("CAT"), annotated.SIZE, "'CAT' and 'cat' differ only"),
        ("", annotated.SIZE, "hold no object to learn from"),
    ],
)
def test_refused__contents(
    tmp_path: Path, objects: str, size: tuple[int, int], message: str
) -> None:
    path = annotated.write_xml(tmp_path, "a", objects, size)
    with pytest.raises(UsageError, match=message):
        read_voc([path], tmp_path)
