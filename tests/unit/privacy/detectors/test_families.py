"""Each family against texts that hold its data and texts that only look so. All values are made up."""

from __future__ import annotations

import pytest

from hybridinfer.privacy.detectors import COMPANION, SCORES, TYPES, scan
from hybridinfer.privacy.detectors.families import FAMILIES

KEY = "a1B2c3D4e5F6g7H8i9J0"

FOUND = [
    # cards
    ("payment_card", "pay with 4111 1111 1111 1111 today", "4111 1111 1111 1111"),
    ("payment_card", "card 3782-822463-10005.", "3782-822463-10005"),
    ("payment_card", "5555555555554444", "5555555555554444"),
    ("payment_card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ("payment_card", "4111 1111 1111 1111 123", "4111 1111 1111 1111"),
    ("payment_card", "my credit card is 4111111111111112", "4111111111111112"),
    # bank
    ("iban", "to DE89 3704 0044 0532 0130 00 please", "DE89 3704 0044 0532 0130 00"),
    ("iban", "gb82west12345698765432", "gb82west12345698765432"),
    ("iban", "IBAN: DE88370400440532013000", "DE88370400440532013000"),
    ("bank_account", "account number: 123456789012", "123456789012"),
    ("bank_account", "routing 021000021", "021000021"),
    ("bank_account", "the SWIFT code is DEUTDEFF500 and account number 12345678", "DEUTDEFF500"),
    ("crypto_wallet", "send to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ("crypto_wallet", "my bitcoin wallet 1BoatSLRHtKNngkdXEeobR76b53LETtpyU", "1BoatSLRHtKNngkdXEeobR76b53LETtpyU"),
    ("crypto_wallet", "0x52908400098527886E0F7030069857D2E4169EE7", "0x52908400098527886E0F7030069857D2E4169EE7"),
    ("crypto_wallet", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    # national numbers, with a label and without
    ("national_id", "SSN 219-09-9999", "219-09-9999"),
    ("national_id", "social security number: 219 09 9999", "219 09 9999"),
    ("national_id", "AB 12 34 56 C", "AB 12 34 56 C"),
    ("national_id", "12345678Z", "12345678Z"),
    ("national_id", "RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    ("national_id", "123.456.789-09", "123.456.789-09"),
    ("national_id", "born 131052-308T", "131052-308T"),
    ("national_id", "11010519491231002X", "11010519491231002X"),
    ("national_id", "BSN 111222333", "111222333"),
    ("tax_id", "ITIN: 912-90-3456", "912-90-3456"),
    ("tax_id", "AAPPL1234C", "AAPPL1234C"),
    ("national_id", '{"ssn": "219099999"}', "219099999"),
    # contact
    ("email", "mail jane.roe@corp.io!", "jane.roe@corp.io"),
    ("email", "mail jürgen@müller.de", "jürgen@müller.de"),
    ("email", "maria.lopez84@example.com", "maria.lopez84@example.com"),
    ("email", "jane (at) corp (dot) io", "jane (at) corp (dot) io"),
    ("phone", "+41 44 668 18 00", "+41 44 668 18 00"),
    ("phone", "0041 44 668 18 00", "0041 44 668 18 00"),
    ("phone", "(415) 555-2671", "(415) 555-2671"),
    ("phone", "+49 170 555 0123", "+49 170 555 0123"),
    ("phone", "call me on 01.84.17.61.18", "01.84.17.61.18"),
    ("phone", "office 030 123 45 67 in Berlin", "030 123 45 67"),
    ("address", "221B Baker Street, London", "221B Baker Street, London"),
    ("address", "Lindenstraße 12, 10969 Berlin", "Lindenstraße 12, 10969 Berlin"),
    ("address", "Calle Mayor 7", "Calle Mayor 7"),
    ("address", "4 bis rue de la Paix", "4 bis rue de la Paix"),
    ("address", "write to P.O. Box 4711", "P.O. Box 4711"),
    ("address", "PSC 4095, Box 8316\nAPO AE 85103", "PSC 4095, Box 8316\nAPO AE 85103"),
    ("address", "she lives at 31 al bakri", "31 al bakri"),
    ("address", "address: Bygget 64", "Bygget 64"),
    ("address", "7 Hauptgasse, Apt. 3", "7 Hauptgasse, Apt. 3"),
    ("address", "中山路12号", "中山路12号"),
    ("date_of_birth", "born on 12 March 1984", "12 March 1984"),
    ("date_of_birth", '"date_of_birth": "1984-03-12"', "1984-03-12"),
    ("date_of_birth", "Geburtsdatum: 12.03.1984", "12.03.1984"),
    # network
    ("ip_address", "login from 93.184.216.34", "93.184.216.34"),
    ("ip_address", "2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::200e"),
    ("mac_address", "00:1B:44:11:3A:B7", "00:1B:44:11:3A:B7"),
    ("mac_address", "00-1b-44-11-3a-b7", "00-1b-44-11-3a-b7"),
    ("mac_address", "001b.4411.3ab7", "001b.4411.3ab7"),
    ("geo", "lat 47.37689, lon 8.54169", "47.37689, lon 8.54169"),
    ("geo", "47.376888, 8.541694 is my home", "47.376888, 8.541694"),
    # documents
    ("passport", "passport number: X12345678", "X12345678"),
    ("driver_licence", "my driver's license number is F162823540116", "F162823540116"),
    ("medical_id", "MRN: 4016436", "4016436"),
    ("medical_id", "patient_id=A-778899", "A-778899"),
    ("other_id", "employee id 7788991", "7788991"),
    # credentials
    ("credential", f"ghp_{KEY}{KEY[:16]}", f"ghp_{KEY}{KEY[:16]}"),
    ("credential", f"use AKIA{'Q3EGRWWTCXH2D5YF'}.", "AKIAQ3EGRWWTCXH2D5YF"),
    ("credential", f"sk-proj-{KEY}{KEY}", f"sk-proj-{KEY}{KEY}"),
    ("credential", "zendesk_key = '" + "0123456789abcdefghij" [::-1] * 2 + "'", "jihgfedcba9876543210jihgfedcba9876543210"),
    ("private_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKCAQ\n-----END RSA PRIVATE KEY-----", None),
    ("private_key", f"PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 2\n{KEY}{KEY}", None),
    ("credential", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.{KEY}", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.{KEY}"),
    ("connection_string", "postgres://app:s3cr3tpw@db.corp.io/x", "s3cr3tpw"),
    ("credential", f"Authorization: Bearer {KEY}", KEY),
    ("password", "curl -u admin:hunter22 https://corp.io", "admin:hunter22"),
    ("password", "mysql -u root -phunter22 shop", "hunter22"),
    ("password", '<add key="Password" value="hunter2hunter2" />', "hunter2hunter2"),
    ("credential", "kind: Secret\ndata:\n  pw: aHVudGVyMjIhISE3\n", "aHVudGVyMjIhISE3"),
    # passwords
    ("password", "the password is hunter2", "hunter2"),
    ("password", "my password: hunter2", "hunter2"),
    ("password", 'the password is "swordfish"', "swordfish"),
    ("password", "hunter2 is my password", "hunter2"),
    ("password", "PIN is 4821", "4821"),
    ("password", "DB_PASSWORD=correcthorse\n", "correcthorse"),
    ("password", '{"password": "hunter2"}', "hunter2"),
    ("password", "<password>hunter22</password>", "hunter22"),
    ("password", "setPassword('hunter2!')", "hunter2!"),
    ("password", "CREATE USER x IDENTIFIED BY 'pQ7rTz'", "pQ7rTz"),
    ("password", "run it with --password hunter2", "hunter2"),
    ("password", "das Passwort lautet Geheim99", "Geheim99"),
    ("password", "пароль: Котик123", "Котик123"),
    ("password", "密码是abc12345", "abc12345"),
    ("password", 'passphrase = "correct horse battery"', "correct horse battery"),
    ("password", "the wifi password is SwordFish", "SwordFish"),
    ("password", "the vault password is corr!ect", "corr!ect"),
    ("credential", f'"key": "{KEY}{KEY[::-1]}"', KEY + KEY[::-1]),
    ("credential", 'token = "qWeRtYuIoPaSdFgHjKlZxCvB"', "qWeRtYuIoPaSdFgHjKlZxCvB"),
    ("credential", "AUTH_TOKEN=trustno-one!", "trustno-one!"),
    ("password", "pin: 482913", "482913"),
    ("credential", f'api_key = "{KEY}"', KEY),
    ("credential", f"secret_token: {KEY}", KEY),
]  # fmt: skip

CLEAN = [
    "the password is incorrect",
    "the password is 'required'",
    "Password is required. Token expired.",
    "password: string",
    "password = None",
    'password=os.environ["PW"]',
    "token = get_token(user)",
    "max_tokens: 4096",
    "if password == expected_password1:",
    "the secret is out",
    "you can pass `stream=True` there",
    "a=b1&password=$PASSWORD1&token=@file1",
    "run it with --password $DB_PASSWORD1",
    "x > password > 123abc456",
    "password(abc123)",
    "your_key_here_1 is my password",
    "the account_password_v2 is my password",
    'title = "Key"; key: "abc"',
    "IBAN: DE00",
    "send 1BoatSLRHtKNngkdXEeobR76b53LETtpy0 home",
    "0 1 2 3 4 5 6 7 8 9 10 11 12",
    'api_key = "YOUR_API_KEY"',
    "api_key: ${API_KEY1}",
    "password: <your password 1>",
    'key = "some_setting_name"',
    'bucket_key: "SalesResults-1.2"',
    "public_key = 9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit",
    'password_field = "Password1"',
    "https://user:password@host/x",
    "-----BEGIN PUBLIC KEY-----\nMIIEow\n-----END PUBLIC KEY-----",
    "basic understanding of 12 things",
    "email user@example.com or john.doe@example.org",
    "git@github.com:org/repo.git",
    "call 555-0123 or (212) 555-0199",
    "call +1 212 555 0147",
    "192.168.1.1 and 10.0.0.7, 127.0.0.1, 203.0.113.9, 8.8.8.8, 255.255.255.0",
    "fe80::1 and 2001:db8::17",
    "version 11.22.33.44",
    "release 1.4.12.3 is out",
    "10:30:45:12",
    "2024-01-15 12:30:45",
    "550e8400-e29b-41d4-a716-446655440000",
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "3.14159265358979 and + 7.79746609204661",
    "640 000 000 bytes",
    "02110-1301 is a postal code",
    "1111 1111 1111 1111",
    "4111 1111 1111 1112",
    "XXXX-XXXX-XXXX-1234",
    "000-12-3456 and 123-00-4567",
    "an RFC 2047/2243 header",
    "ISBN 978-3-16-148410-0",
    "order number: 415-555-2671",
    "f(x) = 12 x + 3",
    "she lives in Stockholm 2012",
    "Step 3 Apple 5",
    "the passport office opens at 9",
    "account 42",
    "she was born in a small town",
    "a lat-lon pair",
    "\U0001f600 smile",
    "[EMAIL_1_abcd] and [PASSWORD_2b_abcd]: [PASSWORD_1_abcd] hunter2x",
]


@pytest.mark.parametrize(
    ("kind", "text", "span"), FOUND, ids=[f"{kind}-{number}" for number, (kind, *_) in enumerate(FOUND)]
)
def test_found(kind: str, text: str, span: str | None) -> None:
    """The data is found with its type and its exact span."""
    found = [(finding.type, text[finding.start : finding.end]) for finding in scan(text)]
    assert (kind, text if span is None else span) in found


@pytest.mark.parametrize("text", CLEAN)
def test_clean(text: str) -> None:
    """Placeholders, reserved ranges and look-alikes are no findings."""
    assert [finding for finding in scan(text) if finding.type not in COMPANION] == []


def test_findings_explain_themselves_without_content() -> None:
    """A finding names its family and validator; its text form holds none of the data."""
    (finding,) = scan("card 4111 1111 1111 1111")
    assert (finding.detector, finding.validator) == ("cards", "luhn")
    assert "4111" not in repr(finding)


def test_every_reported_type_has_a_score() -> None:
    """No family can report a type that the signal would not know."""
    assert {kind for kind, *_ in FOUND} <= set(SCORES) == set(TYPES)


def test_a_row_of_a_board_is_no_card() -> None:
    """Sixteen digits, one by one, are a card by themselves, and none between other such rows."""
    row = "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"
    assert [finding.type for finding in scan(f"it is {row}, thanks")] == ["payment_card"]
    assert scan(f"{row}\n{row}\n1 1 1 4") == ()
    assert [finding.type for finding in scan(f"1 2 3\nmy card: {row}")] == ["payment_card"]


def test_names_are_found_only_beside_something_harder() -> None:
    """A name alone is no finding; next to an address it is, so that it can be masked with it."""
    assert scan("my name is Jane Roe") == ()
    assert [f.type for f in scan("my name is Jane Roe, jane@corp.io")] == ["person_name", "email"]


def test_a_name_before_an_address_in_brackets_is_found() -> None:
    """`Jane Roe <jane@corp.io>` names a person."""
    text = "From: Jane Roe <jane@corp.io>"
    assert [text[f.start : f.end] for f in scan(text)] == ["Jane Roe", "jane@corp.io"]


def test_the_registry_holds_every_family_once() -> None:
    """Fourteen families, each a module of its own."""
    assert len(FAMILIES) == len({detect.__module__ for detect in FAMILIES.values()}) == 14
