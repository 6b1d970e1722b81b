"""The check of prose finds each kind of fault, and no other text."""

import pytest
from prose import faults


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.py", '"""Return the picture."""\n', [(1, "'picture'")]),
        ("a.py", "x = 1  # the test of\n# the colour\n", [(1, "'colour'")]),
        ("a.py", '"""Return x.\n\nIt is small. Where it is not, y.\n"""\n', [(3, "a sentence opens with 'Where'")]),
        ("a.py", 'def f(verb):\n    return {"optimiser": verb}[f"{verb!r}: is there"]\n', []),
        ("a.md", "# Data\n\n```sh\nverb picture\n```\nThe `verb` is\nto mend.\n", [(6, "'mend'")]),
        (
            "a.md",
            "## What may change\nData.\n- With AMP it\n",
            [(1, "heading"), (3, "a sentence opens with 'With'")],
        ),
        ("a.md", "The 700 photographs of Imagenette.\n\nNo photographs.", [(3, "'photographs'")]),
        ("a.yaml", "# One.\n# Go on.\nverb: 1\n", [(1, "'Go on'")]),
        ("a.html", "<p>\n<b>mended</b>", [(2, "'mended'")]),
    ],
)
def test_faults_of_a_text_have_their_line_and_kind(tmp_path, name, text, found):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    reported = list(faults(path))
    assert [line for line, _ in reported] == [line for line, _ in found]
    assert all(fault.startswith(start) for (_, fault), (_, start) in zip(reported, found))
