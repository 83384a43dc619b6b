from __future__ import annotations

import pytest

from services.transcribe_agent.languages import code_of

# All that Whisper's own list has under a name, and what the API was seen to answer.
NAMES = """
english chinese german spanish russian korean french japanese portuguese turkish polish catalan dutch arabic
swedish italian indonesian hindi finnish vietnamese hebrew ukrainian greek malay czech romanian danish
hungarian tamil norwegian thai urdu croatian bulgarian lithuanian latin maori malayalam welsh slovak telugu
persian latvian bengali serbian azerbaijani slovenian kannada estonian macedonian breton basque icelandic
armenian nepali mongolian bosnian kazakh albanian swahili galician marathi punjabi sinhala khmer shona yoruba
somali afrikaans occitan georgian belarusian tajik sindhi gujarati amharic yiddish lao uzbek faroese pashto
turkmen nynorsk maltese sanskrit luxembourgish myanmar tibetan tagalog malagasy assamese tatar hawaiian
lingala hausa bashkir javanese sundanese cantonese
"""


@pytest.mark.parametrize("name", [*NAMES.split(), "haitian creole"])
def test_every_language_of_whisper_has_a_code(name: str) -> None:
    assert code_of(name) is not None


@pytest.mark.parametrize(
    ("given", "code"),
    [("english", "en"), ("English", "en"), ("en", "en"), ("de", "de"), ("greek", "el"), ("yue", "yue")],
)
def test_names_and_codes_become_codes(given: str, code: str) -> None:
    assert code_of(given) == code


@pytest.mark.parametrize("given", [None, "", " ", "klingonese", "xx", "\0"])
def test_what_nobody_knows_is_no_language(given: str | None) -> None:
    assert code_of(given) is None
