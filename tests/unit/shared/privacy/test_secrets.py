"""Keys by their form, and passwords by what they are called."""

from __future__ import annotations

import random
import string

import pytest

from shared.privacy import redact

RANDOM = random.Random(4)


def drawn(length: int, of: str = string.ascii_letters + string.digits) -> str:
    return "7" + "".join(RANDOM.choice(of) for _ in range(length - 1))


HEX = "0123456789abcdef"
KEYS = {
    "Groq": f"gsk_{drawn(52)}",
    "NVIDIA": f"nvapi-{drawn(64)}",
    "Replicate": f"r8_{drawn(37)}",
    "SendGrid": f"SG.{drawn(22)}.{drawn(43)}",
    "Google OAuth": f"ya29.{drawn(60)}",
    "Databricks": f"dapi{drawn(32, HEX)}",
    "Shopify": f"shpat_{drawn(32, HEX)}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{drawn(60)}",
    "Telegram": f"{drawn(10, string.digits)}:{drawn(35)}",
    "GitLab": f"glpat-{drawn(20)}",
    "Mailchimp": f"{drawn(32, HEX)}-us12",
    "Vault": f"hvs.{drawn(24)}",
    "Pinecone": f"pcsk_{drawn(60)}",
    "PlanetScale": f"pscale_tkn_{drawn(43)}",
    "Twilio": f"SK{drawn(32, HEX)}",
    "Hugging Face": "hf_" + "".join(RANDOM.choice(string.ascii_letters) for _ in range(34)),
    "Firebase": f"{drawn(11)}:APA91b{drawn(134)}",
}


@pytest.mark.parametrize("issuer", KEYS)
@pytest.mark.parametrize("around", ["{}", "key {}, keep it", "K={}", '"{}"', "は{}です", "({})."])
def test_a_key_is_known_by_its_form(issuer: str, around: str) -> None:
    assert redact(around.format(KEYS[issuer])) == around.format("[SECRET]")


NAMED = {
    "secret_key: abcdef123456": "secret_key: [SECRET]",
    "access_key=abcdef123456": "access_key=[SECRET]",
    "API key is abcd1234efgh": "API key is [SECRET]",
    "Authorization: Basic dXNlcjpwYXNzd29yZA==": "Authorization: Basic [SECRET]",
    "AccountKey=fTESvZ5DArWsOUN54dyN9TP/uw==": "AccountKey=[SECRET]",
    "redis://:pass@host:6379/0": "redis://:[SECRET]@host:6379/0",
    "amqp://app:pa:ss@mq.example": "amqp://app:[SECRET]@mq.example",
    r'{"a": "{\"api_key\": \"abcd1234efgh\"}"}': r'{"a": "{\"api_key\": \"[SECRET]\"}"}',
    '{"clientSecret": "abcd1234efgh"}': '{"clientSecret": "[SECRET]"}',
    "password: Summer2024!": "password: [SECRET]",
    "define('DB_PASSWORD', 'hUnter2!x');": "define('DB_PASSWORD', '[SECRET]');",
    "the password for the wifi in the hall is Sunny-Day7": (
        "the password for the wifi in the hall is [SECRET]"
    ),
    "WIFI密码是huanying1991!Gz，房间": "WIFI密码是[SECRET]，房间",
    '{"password": "correcthorse"}': '{"password": "[SECRET]"}',
    r'{"a": "{\"db_password\": \"correcthorse\"}"}': r'{"a": "{\"db_password\": \"[SECRET]\"}"}',
    "PGPASSWORD=correcthorse psql": "PGPASSWORD=[SECRET] psql",
    "https://discord.com/api/webhooks/123456789012345678/abcDEFghiJKLmnopQRST": (
        "https://discord.com/api/webhooks/[SECRET]"
    ),
    "mot de passe : Soleil!84": "mot de passe : [SECRET]",
    "пароль: Zima2024": "пароль: [SECRET]",
    "Password\nHunter22!": "Password\n[SECRET]",
    "login:\nbob\nPasswort:\nHunter22!": "login:\nbob\nPasswort:\n[SECRET]",
    '{"passphrase": "correct-horse"}': '{"passphrase": "[SECRET]"}',
    '{"db": {"pwd": "correcthorse"}}': '{"db": {"pwd": "[SECRET]"}}',
    "curl -s -u admin:hunter2x https://x.example/a": "curl -s -u admin:[SECRET] https://x.example/a",
    "mysqldump -u root -phunter2x shop": "mysqldump -u root -p[SECRET] shop",
    "pwd Winter_7300mg, the other one aSg5dpboNH0t": "pwd [SECRET], the other one [SECRET]",
}


@pytest.mark.parametrize("text", NAMED)
def test_a_password_is_known_by_what_it_is_called(text: str) -> None:
    assert redact(text) == NAMED[text]


@pytest.mark.parametrize(
    "text",
    [
        "the password is required",
        "I forgot my password, please help",
        "reset the password within 24 hours",
        "Passwort vergessen: was tun?",
        "Username\nPassword\nLog in",
        "curl -s https://x.example:8080/a -u 1000",
        "mysql -h db -p shop",
        "login(user=user, password=given)",
        '["password", "username"]',
        "DB_PASSWORD=${SECRET_PASSWORD}",
        '{"type": "object", "password": "required"}',
        '{"user": "Benutzer", "password": "Passwort"}',
        "basic information about your account",
        "the bearer of bad news",
        "the design sig=nature",
        "secret: unknown",
        "token economy",
        "our key account manager, room 12",
        "sha256:3f9c1234567890123456789012345678901234567890123456789012345678ab",
        "/api/v1/orders/4155552671?page=2",
        "/api/webhooks/what-happened-to-an-order-of-mine",
    ],
)
def test_words_are_no_secrets(text: str) -> None:
    assert redact(text) == text
