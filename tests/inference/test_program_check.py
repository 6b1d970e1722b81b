"""What is read in an exported program before Paddle gets it, of either Paddle and by either Paddle."""

import base64
import json
import zlib
from pathlib import Path

import pytest

from paddle_alexnet import UserError
from paddle_alexnet.inference.program_check import check_program

# `paddle.jit.save` of Paddle 2.6.2, of Flatten and Linear(12, 2), without the operators' attributes.
OF_PADDLE_2 = zlib.decompress(
    base64.b64decode(
        "eNqFkd1OgzAUgAcbkx2ZY0yUNf4kNV4YjY5dauILeKFRL/SKdKNMEn4MlC3xNXwY38sX0EKd2Zrp6AVp+53vnJ4D7029Zn7NPwWdQSeICGM0"
        "8QbnLH71BtauvoF60NG1Bc40zJpTQ0OZdq19TvfB5vSi16ybKl9lDAYtjMmEWn1O2tBb9lYc2gMjChNKMq4d8RKAo01ocFR1FHQCW7+3okSb"
        "33flElWe7FRC3dWvEZUdLGSdcavBUR2aHDWqvFdwkJMp9cIkoJkXpz6NLvIxiej/rRJyAxoBpb6l6i2uaoMWUDZ+4VtwFHwILVCeLEEYUL8t"
        "mCW6hKozfA1QAj+d2xGEPCnkzA/GacLCSZEWuZeRZELxDWyX8XIEdEF5tpZfbQu51GLUigmLi8ibDvEd9EqZRMiu0V8uF3VoRGOasFmYU4/4"
        "Pr6HNmw+lK18pEmeZqsSuNaxsK0ZAtKqLb6Eo1KybmTzblfjQOKHG/rnx9s3VQDwiA=="
    )
)
OUTLINE_OF_PADDLE_3 = {
    "base_code": {"magic": "pir", "trainable": True, "version": 4},
    "program": {
        "regions": [
            {
                "blocks": [
                    {
                        "ops": [
                            {"#": "p", "O": {"TT": {"D": [{"#": "0.t_f32"}, [12, 2]]}}},
                            {"#": "1.data", "O": [{"TT": {"D": [{"#": "0.t_f32"}, [-1, 3, 2, 2]]}}]},
                            {"#": "1.fetch", "O": []},
                        ]
                    }
                ]
            }
        ]
    },
}


@pytest.mark.parametrize(
    "name, content",
    [("model.pdmodel", OF_PADDLE_2), ("model.json", json.dumps(OUTLINE_OF_PADDLE_3).encode())],
    ids=["Paddle 2", "Paddle 3"],
)
def test_the_input_of_a_program_is_known_before_it_is_run(name, content):
    assert check_program(name, content, source=Path()) == (-1, 3, 2, 2)


def test_a_program_of_two_outputs_is_refused():
    two = json.dumps(OUTLINE_OF_PADDLE_3).replace('{"#": "1.fetch", "O": []}', ", ".join(['{"#": "1.fetch"}'] * 2))
    with pytest.raises(UserError, match="must have one input and one output"):
        check_program("model.json", two.encode(), source=Path())
