"""Keys and tokens, by the form that their issuers give them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.privacy.finds import Find

# As the issuers' documentation, or the scanners of leaks that they feed, have it. What stands
# before the first mark that is no plain character tells cheaply whether a form may be there.
_FORMS = {
    "OpenAI, Anthropic, Stripe, Ratchet": (
        "sk-|sk_|rk-|rk_|pk-|pk_",
        r"(?:sk|rk|pk)[-_](?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}",
    ),
    "Stripe's webhooks": ("whsec_", r"whsec_[A-Za-z0-9+/=]{16,}"),
    "AWS": ("AKIA|ASIA|ABIA|ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
    "GitHub": (
        "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_",
        r"(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}",
    ),
    "GitLab": (
        "glpat-|gldt-|glrt-|glptt-|glft-|glsoat-|glcbt-|glagent-|gloas-",
        r"gl(?:pat|dt|rt|ptt|ft|soat|cbt|agent|oas)-[A-Za-z0-9_.-]{20,}",
    ),
    "Hugging Face, npm": ("hf_|npm_", r"(?:hf_|npm_)[A-Za-z0-9]{20,}"),
    "Slack": ("xox|xapp-", r"xox[abceprs]-[A-Za-z0-9-]{10,}|xapp-[0-9A-Za-z-]{10,}"),
    "webhooks of Slack, Discord, Teams": (
        "hooks.slack.com|/api/webhooks/|/IncomingWebhook/",
        (
            r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}"
            r"|(?<=/api/webhooks/)\d{17,}/[A-Za-z0-9_-]{20,}"
            r"|(?<=/IncomingWebhook/)[0-9a-f]{32}/[0-9a-f-]{36}"
        ),
    ),
    "Google": (
        "AIza|ya29.|GOCSPX-|1//0",
        r"AIza[0-9A-Za-z_-]{35}|(?:ya29\.|GOCSPX-)[0-9A-Za-z_-]{20,}|1//0[0-9A-Za-z_-]{30,}",
    ),
    "Groq, NVIDIA, Replicate, xAI, Perplexity": (
        "gsk_|nvapi-|r8_|xai-|pplx-",
        r"(?:gsk_|nvapi-|r8_|xai-|pplx-)[A-Za-z0-9_-]{20,}",
    ),
    "Cerebras, Tavily, LangSmith, Weights & Biases": (
        "csk-|tvly-|lsv2_|wandb_v1_",
        r"(?:csk-|tvly-|lsv2_(?:pt|sk)_|wandb_v1_)[A-Za-z0-9_-]{16,}",
    ),
    "Firebase": (":APA91b", r"[A-Za-z0-9_-]{8,24}:APA91b[A-Za-z0-9_-]{60,}"),
    "SendGrid": ("SG.", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    "Databricks": ("dapi", r"dapi[0-9a-f]{32}(?:-\d)?"),
    "Shopify": ("shpat_|shpca_|shppa_|shpss_", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    "PyPI": ("pypi-", r"pypi-[A-Za-z0-9_-]{16,}"),
    "Twilio": ("SK", r"SK[0-9a-f]{32}(?![0-9A-Za-z])"),
    "Mailgun": ("key-", r"key-[0-9a-f]{32}"),
    "Mollie": ("live_|test_", r"(?:live|test)_(?=[A-Za-z]*[0-9])[A-Za-z0-9]{28,}"),
    "DigitalOcean, Vault, Grafana, Docker, Postman": (
        "dop_v1_|doo_v1_|dor_v1_|hvs.|glsa_|dckr_pat_|PMAK-",
        r"(?:do[opr]_v1_|hvs\.|glsa_|dckr_pat_|PMAK-)[A-Za-z0-9_.-]{20,}",
    ),
    "Linear, Notion, Figma, Atlassian, Square": (
        "lin_api_|ntn_|figd_|ATATT3|sq0|EAAA",
        r"(?:lin_api_|ntn_|figd_|ATATT3|sq0(?:atp|csp)-|EAAA)[A-Za-z0-9_=-]{20,}",
    ),
    "Supabase, Sentry, New Relic, Netlify": (
        "sbp_|sntrys_|sntryu_|NRAK-|nfp_",
        r"(?:sbp_|sntry[su]_|NRAK-|nfp_)[A-Za-z0-9_+/=-]{20,}",
    ),
    "Together, Pinecone, Anyscale, PostHog": (
        "tgp_v1_|pcsk_|esecret_|phx_",
        r"(?:tgp_v1_|pcsk_|esecret_|phx_)[A-Za-z0-9_-]{20,}",
    ),
    "RubyGems, PlanetScale, Heroku, Doppler, CircleCI, Contentful": (
        "rubygems_|pscale_|HRKU-|dp.pt.|CCIPAT_|CFPAT-",
        r"(?:rubygems_|pscale_|HRKU-|dp\.pt\.|CCIPAT_|CFPAT-)(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_.-]{20,}",
    ),
    "JSON Web Tokens": ("eyJ", r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    "age": ("AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
}
# These begin with nothing of their own. The last one is any forty characters that are drawn.
_UNNAMED_FORMS = {
    "Telegram": r"\d{8,10}:[A-Za-z0-9_-]{33,36}(?![A-Za-z0-9_-])",
    "Discord": r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
    "Mailchimp": r"[0-9a-f]{32}-us\d{1,2}(?![A-Za-z0-9_])",
    "AWS, Azure": (
        r"(?<![+/=.:])(?=(?:[^\s\d]*\d){4})(?=(?:[^\sA-Z]*[A-Z]){4})(?=(?:[^\sa-z]*[a-z]){4})"
        r"[A-Za-z0-9+/]{40,}={0,2}(?![A-Za-z0-9+/=_.-])"
    ),
}
_NO_WORD_BEFORE = "(?<![A-Za-z0-9_-])"
_SIGNS = tuple(sign for signs, _ in _FORMS.values() for sign in signs.split("|"))
_KEY = re.compile(_NO_WORD_BEFORE + f"(?:{'|'.join(form for _, form in _FORMS.values())})")
_UNNAMED = re.compile(_NO_WORD_BEFORE + f"(?:{'|'.join(_UNNAMED_FORMS.values())})")
# No key is shorter, and none of the unnamed ones; most texts have no word of that length.
# Word by word: a search begins anew at each letter, and takes twice as long.
_LONG_WORD = re.compile(
    r"(?:[A-Za-z0-9_.:/+=-]{0,17}+[^A-Za-z0-9_.:/+=-]++)*+[A-Za-z0-9_.:/+=-]{18}"
)
_LONGER_WORD = re.compile(r"[A-Za-z0-9_.:/+-]{36}")
_PEM = re.compile(
    r"""
    -----BEGIN\ (?:[A-Z]++\ ){0,3}PRIVATE\ KEY-----
    (?: (?:[^-]|-(?!----))*+ -----END\ (?:[A-Z]++\ ){0,3}PRIVATE\ KEY-----
      | (?:(?:\s|\\n)*+[A-Za-z0-9+/=]{40,}+)*+ )                      # cut off before its end
    """,
    re.VERBOSE,
)


def keys_in(plain: str) -> Iterator[Find]:
    """Yield what has the form of a key."""
    if "-----BEGIN" in plain:
        yield from _all(_PEM, plain)
    if not _LONG_WORD.match(plain):
        return
    if any(sign in plain for sign in _SIGNS):
        yield from _all(_KEY, plain)
    if _LONGER_WORD.search(plain):
        yield from _all(_UNNAMED, plain)


def _all(pattern: re.Pattern[str], plain: str) -> Iterator[Find]:
    return (Find(*match.span(), "SECRET") for match in pattern.finditer(plain))
