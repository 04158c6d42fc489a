"""Which language rows are in: said where it is sure, of a sample that hangs on the rows alone."""

import random

import pytest

from services.dataset_builder import languages
from services.dataset_builder.languages import SAMPLE, language, sampled
from services.dataset_builder.reports import bias
from tests.unit.dataset_builder.corpus import labelled, row
from tests.unit.dataset_builder.test_reports import trained

SAID = {
    "en": ("Where is my parcel? It was due on Monday.", "I would like to cancel my order, please."),
    "de": (
        "Wo bleibt mein Paket? Es sollte am Montag kommen.",
        "Die Heizung ist seit heute aus.",
    ),
    "fr": ("Où est mon colis ? Il devait arriver lundi.", "Je voudrais annuler ma commande."),
    "es": (
        "¿Dónde está mi paquete? Tenía que llegar el lunes.",
        "Se cierra cada vez que abro los ajustes.",
    ),
    "it": ("Dov'è il mio pacco? Doveva arrivare lunedì.", "Vorrei annullare il mio ordine."),
    "pl": (
        "Gdzie jest moja paczka? Miała przyjść w poniedziałek.",
        "Chcę anulować zamówienie.",
    ),
    "tr": ("Paketim nerede? Pazartesi gelmesi gerekiyordu.", "Siparişimi iptal etmek istiyorum."),
    "vi": ("Gói hàng của tôi đang ở đâu?", "Tôi muốn hủy đơn hàng của mình."),
    "ru": ("Где моя посылка? Она должна была прийти в понедельник.", "Я хочу отменить свой заказ."),
    "uk": ("Де моя посилка? Вона мала прийти в понеділок.", "Я хочу скасувати замовлення."),
    "ar": ("أين طردي؟ كان من المفترض أن يصل يوم الاثنين.", "أريد إلغاء طلبي من فضلك."),
    "fa": ("بسته من کجاست؟ قرار بود دوشنبه برسد.", "می‌خواهم سفارشم را لغو کنم."),
    "hi": ("मेरा पार्सल कहाँ है? इसे सोमवार को आना था।", "मैं अपना ऑर्डर रद्द करना चाहता हूँ।"),
    "ja": ("荷物はどこですか。月曜日に届くはずでした。", "注文をキャンセルしたいです。"),
    "zh": ("我的包裹在哪里？本来应该星期一到的。", "请帮我查一下订单什么时候发货。"),
    "ko": ("제 소포는 어디에 있나요?", "주문을 취소하고 싶어요."),
    "el": ("Πού είναι το δέμα μου;", "Θέλω να ακυρώσω την παραγγελία μου."),
    "th": ("พัสดุของฉันอยู่ที่ไหน ควรจะมาถึงวันจันทร์", "ฉันต้องการยกเลิกคำสั่งซื้อ"),
}
UNTOLD = ("ok", "thanks", "merci", "hello", "danke", "refund", "4711", "E-17", "🙂🙂", "", "\ud800")


@pytest.mark.parametrize("code", SAID)
def test_messages_are_told_by_their_language(code: str) -> None:
    assert [language(text) for text in SAID[code]] == [code] * 2
    # as curation compares them
    assert [language(text.casefold()) for text in SAID[code]] == [code] * 2


@pytest.mark.parametrize("text", UNTOLD)
def test_what_may_be_of_several_languages_is_unknown(text: str) -> None:
    assert language(text) == "unknown"


def test_without_the_bound_words_of_several_languages_would_be_told_wrongly() -> None:
    """The control."""
    rank = languages.identifier().rank
    assert rank("merci")[0][0] != "fr"
    assert rank("hello")[0][0] != "en"


def test_what_redaction_left_is_no_language() -> None:
    assert language("[EMAIL] [PHONE] [email] @ 0") == "unknown"
    assert language("[EMAIL] ¿Dónde está mi paquete? Tenía que llegar el lunes. [PHONE]") == "es"


def test_corrections_are_told_by_language() -> None:
    wrong = {"ja", "uk"}
    rows = [
        row(
            1000 * place + n,
            text,
            "refund",
            label_source="corrected" if code in wrong else "approved",
        )
        for place, (code, texts) in enumerate(SAID.items())
        for n, text in enumerate(texts)
    ]
    found = bias(trained(rows, labelled(["refund", "delivery"])))["language"]
    assert found == {
        code: {"rows": 2, "corrected": 1.0 if code in wrong else 0.0} for code in sorted(SAID)
    }


def test_a_sample_is_the_same_in_every_order() -> None:
    rows = [row(n, f"message of the number {n} in words", "yes") for n in range(SAMPLE + 50)]
    everyone = trained(rows, labelled(["yes", "no"]))
    drawn = sampled(everyone)
    assert len(drawn) == SAMPLE < len(everyone)
    shuffled = random.Random(3).sample(everyone, len(everyone))
    assert sampled(shuffled) == drawn
    assert sampled(everyone[:SAMPLE]) is not drawn
    assert len(sampled(everyone[:20])) == 20
