"""Messages labelled by hand: <<KIND:what must go>>, and everything else must stay. All numbers are
invented or public test numbers.
"""

from __future__ import annotations

PERSONAL = """
Write to <<EMAIL:ada@example.com>>.
My e-mail is <<EMAIL:ada.lovelace+news@mail.example.co.uk>>, thanks
<<EMAIL:o'brien@example.ie>> never got the receipt
contact=<<EMAIL:JOHN_DOE@EXAMPLE.ORG>>;
("<<EMAIL:x@y.io>>")
Bitte an <<EMAIL:jürgen.groß@müller.de>> schicken
mailto:<<EMAIL:a-b.c@sub-domain.example.museum>>?subject=hi
two: <<EMAIL:a1@b2.com>>,<<EMAIL:c3@d4.net>> please
<<EMAIL:...ops@example.com>>
punycode <<EMAIL:info@xn--mller-kva.example.xn--p1ai>> works
Please ring me at <<PHONE:+44 20 7946 0958>>, the cabinet is missing a door.
Call <<PHONE:+1 (415) 555-2671>> now
Call <<PHONE:(415) 555-2671>> now
<<PHONE:415-555-2671>> is my number
<<PHONE:415.555.2671>> or <<PHONE:1-800-555-0199>>
Tel.<<PHONE:+49 (0)30 1234567>>
Telefon: <<PHONE:030 1234567>>
erreichbar unter <<PHONE:0151/23456789>>
rufen Sie <<PHONE:0049 30 1234567>> an
mon numéro : <<PHONE:01 23 45 67 89>>
mon mobile est le <<PHONE:06.12.24.67.89>>
+33 form: <<PHONE:+33 6 12 34 56 78>>
My UK mobile is <<PHONE:07700 900123>>
My UK mobile is <<PHONE:07700900123>>
Sydney office <<PHONE:(02) 9374 4000>>
Sydney office <<PHONE:02 9374 4000>>
mobile <<PHONE:0412 345 678>> after five
WhatsApp <<PHONE:(11) 91234-5678>>
my phone number is <<PHONE:98765 43210>>
my phone number is <<PHONE:4155552671>>
phone: <<PHONE:555-1234>>
llámame al móvil <<PHONE:612 345 678>>
India <<PHONE:+91-98765-43210>>
Brazil <<PHONE:+55 11 91234-5678>>
Japan <<PHONE:+81 3-1234-5678>>
US <<PHONE:+14155552671>>
<<PHONE:020 7946 0958>>
text me on <<PHONE:07911 123456>> please
they can call <<PHONE:3125550147>> any time
<<PHONE:212-555-0123>>/<<PHONE:+12125550124>>
My card is <<CARD:4111 1111 1111 1111>>, charge it
card 4 <<CARD:4111111111111111>>
card <<CARD:5555-5555-5555-4444>> declined
mastercard 2-series <<CARD:2223003122003222>>
amex <<CARD:378282246310005>>
amex <<CARD:3782 822463 10005>>
discover <<CARD:6011 1111 1111 1117>>.
diners <<CARD:3056 930902 5904>>
jcb <<CARD:3530111333300000>>
visa(<<CARD:4012888888881881>>) exp 12/29
card number is <<CARD:4242424242424242>>
Pay to <<IBAN:DE89 3704 0044 0532 0130 00>> please
<<IBAN:GB82WEST12345698765432>>
iban <<IBAN:fr14 2004 1010 0505 0001 3m02 606>> ok
my IBAN <<IBAN:NL91 ABNA 0417 1643 00>> done with it
belgian <<IBAN:BE68 5390 0754 7034>> done
<<IBAN:CH93 0076 2011 6238 5295 7>>, Zürich
<<IBAN:ES91-2100-0418-4502-0005-1332>>
norwegian <<IBAN:NO9386011117947>>
malta <<IBAN:MT84MALT011000012345MTLCAST001S>>
key <<SECRET:sk-abc123def456ghi789jkl012>> leaked
OPENAI_API_KEY=<<SECRET:sk-proj-Ab1_cd2-Ef3gh4Ij5kl6mn7>>
export K=<<SECRET:sk-ant-api03-Zx9y8w7v6u5t4s3r2q1p0>>
stripe <<SECRET:sk_live_4eC39HqLyjWDarjtT1zdp7dc>>
ours: <<SECRET:rk_9Qm2Zt7Lw4Vx8Nc1Ba6Yd3Ke5Rf0Hg>>
aws <<SECRET:AKIAIOSFODNN7EXAMPLE>> oops
github <<SECRET:ghp_16C7e42F292c6912E7710c838347Ae178B4a>>
slack <<SECRET:xoxb-123456789012-abcdefABCDEF>>
google <<SECRET:AIzaSyA1234567890abcdefghijklmnopqrstuv>>
jwt <<SECRET:eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1g>>
Authorization: Bearer <<SECRET:abcdef1234567890.ghij>>
api_key = "<<SECRET:9f8e7d6c5b4a39281706>>"
{"token":"<<SECRET:Zm9vYmFyMTIzNDU2Nzg5>>"}
postgres://app:<<SECRET:hunter22>>@db.internal/app
""".strip().splitlines()

HARMLESS = """
Where is my parcel? It was due on Monday.
Order 12345678 has not arrived.
order number is 302-555-8890
my order no. 0412345678 is late
Tracking number 1Z999AA10123456784
Tracking: 9400 1000 0000 0000 0000 00
parcel 0421 5567 8890 1234 lost
Invoice 2024-0001234 is wrong
Invoice INV-2024-11-0042
ticket #4155552671 still open
call me about order 12345678
The phone broke on 2024-11-05 12:30:45
text me on 12/05/2024
delivered 01.02.2024 instead of 05.02.2024
between 01/02/2024 and 03/04/2024
on 2024-05-01T12:30:00+02:00
at 14:05, 2.5 kg, 12.50 EUR
I paid 1.234.567,89 and 1,000,000.00
2@9.99 each
10 000 000 users
room 101, floor 3, building 12
SKU 0123-4567-89 out of stock
ISBN 978-3-16-148410-0
EAN 4006381333931
serial number 356938035643809
part no 415-555-2671-88
version 10.0.19045.3693
IP 192.168.100.200 and 10.0.0.1
MAC 00:1A:2B:3C:4D:5E
550e8400-e29b-41d4-a716-446655440000
550e8400-e29b-41d4-a716-044665544000
0190f3a2-7c1d-7b3e-8f00-123456789012
commit 91cab82f94c85b
sha256 3f9c1234567890123456789012345678901234567890123456789012345678ab
4111 1111 1111 1112 is not a card
1234 5678 9012 3456
card ending 4242
DE89 3704 0044 0532 0130 01 has a typo
GB82 is a prefix
flight LH1234 and LH 4567 8901
risk-assessment-for-2024-plan
sk-learn is a library
task-1234567890123456
the bearer of bad news
bearer authentication-is-required-here
token economy and secret: unknown
password: forgotten
@support please help
follow @ada on https://example.com/@ada
a@b
user@localhost
https://example.com/orders/4155552671?page=2
see https://example.com/a/b#c
lat 52.520008, long 13.404954
coordinates 40.7128 -74.0060
score 3-2, then 4-1, then 10-12
1-2-3-4-5-6-7-8-9-10
0.123456789
pi is 3.14159265358979
5 of 7 items, 3 boxes, 12 days
from 9 to 5, 24/7
zip 60601-1234 Chicago
postcode SW1A 1AA
year 1999-2024
C++11 2024
x = 3+12345678
customer id 07700900123
my account number is 415-555-2671
reference 020 7946 0958
the cell count was 120000 per ml
""".strip().splitlines()
