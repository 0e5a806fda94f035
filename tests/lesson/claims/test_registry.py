"""Every quote on the page is a whole line of the lecture, which is not part of this repository."""

import hashlib
import html

import pytest

from lecture4.lesson.claims import NAMES, claim
from lecture4.lesson.page.render import quoted

# SHA-256 of each line of the lecture that is not blank, in order, see ``fingerprint``.
LECTURE = (
    "3b0f33d78400c8e187f0a7d0f76d457676a4f27f92cdf8407ac476962cc98795",
    "d5a97f907aa5e8f1ad88bd76a70180982622b7768bb891cb5dbc039e18c28612",
    "ef1b7d757b63d94af7a4791c3b2103b9f521c658a99fdb8a3da21fbe764decbe",
    "7d9a6f2f4e9ababd19f80df4e39248d89f5de54336a085411a59455947e0b27b",
    "0ba96dc39dc24ef98345351a0a9919b53f073160edea1b16c09eca8a8eca49f0",
    "33f5bd864593d026d402e108bf321c1b7e7a210c2d76b846cd65962e7daa7b3f",
    "c756bc5f536ff7f7a0a961a1a1e17b2893cf671a46e32dc49dfaca7c645f6441",
    "a9c88636bac3507ff127b54e6a6199dbc965c149227b3b48deb44a70750269e3",
    "0116a1624ba2f62594074a7d9711745399cb7c6ec96b70c81b27e8bb649f9a4b",
    "fd932e1ed9bb3a267225e727ef67c1ddbb9317bdd076424db29491abefdbfa3b",
    "84395c7a60c5888cb9aa786670621df5aca8ccc5efe311f6af798fed35695adf",
    "5a3524e969857562559c567f1bbe0d40e013aaeacbffee28c8c08f4f4b50325f",
    "338227ea29252bd00590f2f1cabfdb39e6de8e213c7bf0dd87684c12be4f3dab",
    "efc527b3e330d9500b8ab716c4f52048b8bc8aad3132971992151e908acbd71d",
    "b4f031d9fd84c25867097444c84c684fa82a6b0aa76b6474a29817f94b44220c",
    "1f962ca0935bf4cb65cb3d72c2a00b908bc3ac5d0ec6ea68a3a8b48749c93d1e",
    "6e5f7a5ffebc2b02d830dccd22f5d1eff0a7dff6d4dfeef1d4395c48dd42d9e1",
    "2cb1481fbcdb57a0591db0c330228de9b0abfcb6859d6d4df4acd3a40d6a00dc",
    "2088e15ce8787822b1266a37af154cb89444197abf7a9c06db5db4a11d34e37a",
    "fdca3fc1f1a7b883d5a5ad76ce3e829cbf7a1a783d23c553211df0283ade1159",
    "3e9ee1d38c6601995432c8114026d80f3411b9d88657d29934eb8d4d3f0e5a64",
    "828af989d6079a8a5c860dd49d63d14dfed7cec57b4945c0d686c6d52b1fc44a",
    "d3398d45c5d50d6b52f9d0c498cf00b81da61cba112c39fe7a0a111d79b2189b",
    "382ef09d4ced3df40af44228378775f6206cbedd59daf1279280998d3eff44e8",
    "98816cea4376972b9ecece99b495af135c317f56f26b65248c49b664c3a39d43",
    "8a443ab9ee3f9187365344e58bd5f534bbd54854b2e3f9a90bc545f5367d2b28",
    "4b48a8b2b8acb1dae83424265d474a5d9b2473645a63caf2d73386dc80683a6a",
    "1a25d17b13798b3822bfd519f98f51b5b662309a74114aef86870125712cf402",
    "0119e1cb120bf1503cd6d388ecf741644317b137112902bdb8ec3d751373ee00",
    "995132670d3eb6006e9f64b700c5a9d4bb74f437936b12296b19f3d4a42afd4e",
    "3b74013d77969ee8e9ae2f89f4fb803715ad357350c583d1d69a819e03c04a26",
    "df6c3e0ec9429ffdb7114ab484a296e5d9b84a959b40fae4c6b774cc5cce7099",
    "a47b29a42bf467d5ee44fbe7f47fd6d91a57c02dac54dba509b72275f670425e",
    "484ddd109edcaeebdd3dcbf7591c5c314c55218430f11cef43e1c541737cc9ad",
    "4c130f515f300fbf9a8deef7b2c39a23916da1ee245074ce0905de81ca41c7ed",
    "d5ee4eb02ea0f166d987855d3cb2a930271e562e373b42707db654c955663d10",
    "31c0b67deaa845ecb381f49e2cdf20a1e2441324dae2e5a563778759020c4ab4",
    "8a0c5276858fe82263382343a295967ec575bf2d8132ad585fff4780913ee84c",
    "c95bb3b136287dce154eeea9a937d28ea9443e1ba279bf1d0cee2b3b575537fb",
    "3db5bea3a6d4d770e8643264e5de47089799cf00b9311a4097eda5033138ed3a",
    "1faa3490ffb400ce36987a584c20013ea33aee4cc6d80920e7736c9c644641c0",
    "3efa3496e0a0c046dfe02c666e29091604347e090dee40c7420814f55e30d83a",
    "c02559f0c7b962f55e4cbee8449f13c041699e4659982992c8ccd0787cfc6f5d",
    "8d160779ee71af421927fb1e058d142e281d84e90fe5b126cc7caec35d35fc18",
    "35803b214eaec3d84230c086c87e3fc3b374cc014c62f9979dbc1eec12426cd8",
    "f2df1c19eee5fe161be97812d355f98041cb614cf404743d0e40dcd9666d09f0",
    "58d912eef30c04e9d510d16ea921fa159d63d254eb631cae00ec42c3e17a3e9c",
    "84bf6f5dabfbe24f1d475d1d4c68026c71edd340dabc9fef7f65b483fa9d6607",
    "85f2f5a16b9639dcc435dc0af21eb21cf256d0d6a493e1b9907426572a6afb85",
    "1f76876fc9e64a55b5d3f79b0b6b60fd0a602b4e7e62577c4904b07273a96eae",
    "91e2ec6555075298327c1e3fffe75539b4e5432577a76691468eab2c0db9284a",
    "4d4ee76a0efb8e70c0b0fd33bb9da024eb9e26471bf0a60ad5e0f8a27beb6146",
    "3caa0410931ccf1f4ad9db06aefc535ff42d977603482830cb42f151a5e37ccb",
    "27aecb50682bf5f4173f4a33f4aaca54ed3679c8d45d76e80aab503739b28650",
)


def fingerprint(line):
    """SHA-256 of a line, with HTML's entities decoded and white space collapsed."""
    return hashlib.sha256(" ".join(html.unescape(line).split()).encode()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_a_quote_is_whole_lines_of_the_lecture_in_their_order(name):
    places = [LECTURE.index(fingerprint(line)) for line in claim(name).QUOTE]
    assert places
    assert places == sorted(set(places))


@pytest.mark.parametrize("name", NAMES)
def test_one_changed_character_is_noticed(name):
    for line in claim(name).QUOTE:
        for i, character in enumerate(line):
            other = "x" if character != "x" else "y"
            assert fingerprint(line[:i] + other + line[i + 1 :]) not in LECTURE
            if character != " ":
                assert fingerprint(line[:i] + line[i + 1 :]) not in LECTURE


@pytest.mark.parametrize("name", NAMES)
def test_every_formula_of_a_quote_is_typeset(name):
    for line in claim(name).QUOTE:
        shown = quoted(line)
        assert shown.count("<math") == line.count("$$") // 2
        assert "$$" not in shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("a < b & c", "a &lt; b &amp; c"),
        ("to 3072x1.&#x20;", "to 3072x1."),
        ("* Just right", "• Just right"),
    ],
)
def test_the_words_of_a_quote_are_shown_as_they_are(line, shown):
    assert quoted(line) == shown


def test_an_index_written_beside_its_score_is_set_below_it():
    assert quoted("$$e^sk$$") == quoted("$$e^{s_{k}}$$")
    assert quoted("$$e^sy_i$$") == quoted("$$e^{s_{y_i}}$$")
    assert quoted("$$f(x < y)$$") == quoted("$$f(x &lt; y)$$")
