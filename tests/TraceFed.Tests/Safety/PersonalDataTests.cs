using TraceFed.Safety;
using Xunit;

namespace TraceFed.Tests.Safety;

public class PersonalDataTests
{
    private static readonly PolicySnapshot Redact = Policies.Exact(CheckAction.Redact);

    private static readonly PolicySnapshot RedactAddresses = PolicySnapshot.Compile(new()
    {
        Toxicity = Policies.Check(CheckAction.Off),
        Adversarial = Policies.Check(CheckAction.Off),
        Pii = new() { Output = new() { Action = CheckAction.Redact }, IpAddresses = true },
    });

    [Theory]
    [InlineData("from 8.8.8.8:53, 81.2.69.142.", "from [IP]:53, [IP].")]
    [InlineData("(81.2.69.142) 2606:4700:4700::1111, end", "([IP]) [IP], end")]
    [InlineData("2a00:1450:4009:81f::200E", "[IP]")]
    [InlineData("10.0.0.1 192.168.1.1 127.0.0.1 172.16.0.1 169.254.0.1 100.64.0.1 203.0.113.9 224.0.0.1 255.255.255.255", null)]
    [InlineData("::1 fe80::1 fd00::1 2001:db8::1 12:30:45 2024:10:10", null)]
    [InlineData("version 1.2.3.4 and v 5.6.7.8; 1.2.3 1.2.3.4.5 1.2.3.256 01.2.3.4 a1.2.3.4", null)]
    public void Public_addresses_are_found_where_asked_for(string text, string? expected) => Assert.Equal(expected ?? text, Outcome.Of(RedactAddresses, text).Delivered);

    [Theory]
    [InlineData("Write to jane.doe+news@mail.example.co.uk, please.", "Write to [EMAIL], please.")]
    [InlineData("<bob@example.com>", "<[EMAIL]>")]
    [InlineData("bob@example.com.", "[EMAIL].")]
    [InlineData("mailto:o'neil@example.org?subject=x", "mailto:[EMAIL]?subject=x")]
    [InlineData("请联系bob@example.com谢谢", "请联系[EMAIL]谢谢")]
    [InlineData("Card 4111 1111 1111 1111 expires 12/27.", "Card [CARD] expires 12/27.")]
    [InlineData("Card 4111-1111-1111-1111.", "Card [CARD].")]
    [InlineData("4111111111111111", "[CARD]")]
    [InlineData("amex 3782 822463 10005 ok", "amex [CARD] ok")]
    [InlineData("5555 5555 5555 4444 12 27", "[CARD] 12 27")]
    [InlineData("card:6011111111111117;", "card:[CARD];")]
    [InlineData("IBAN DE89 3704 0044 0532 0130 00 and more", "IBAN [IBAN] and more")]
    [InlineData("GB29 NWBK 6016 1331 9268 19", "[IBAN]")]
    [InlineData("NO9386011117947.", "[IBAN].")]
    [InlineData("fr1420041010050500013m02606", "[IBAN]")]
    [InlineData("SSN 536-90-4399.", "SSN [SSN].")]
    [InlineData("My social security number is 536904399", "My social security number is [SSN]")]
    [InlineData("Ring +44 20 7946 0958 today", "Ring [PHONE] today")]
    [InlineData("(415) 555-2671 is the desk", "[PHONE] is the desk")]
    [InlineData("415-555-2671", "[PHONE]")]
    [InlineData("1-415-555-2671", "[PHONE]")]
    [InlineData("+1 (415) 555-2671", "[PHONE]")]
    [InlineData("+14155552671", "[PHONE]")]
    [InlineData("call me: 4155552671", "call me: [PHONE]")]
    [InlineData("phone 020 7946 0958", "phone [PHONE]")]
    [InlineData("Tel. 0049 30 901820", "Tel. [PHONE]")]
    [InlineData("\uFF14\uFF11\uFF11\uFF11 1111 1111 1111!", "[CARD]!")] // full-width digits: the original bytes go
    [InlineData("bob\u200B@exam\u200Bple.com!", "[EMAIL]!")]
    [InlineData("b\u043Eb@example.com", "[EMAIL]")] // Cyrillic o
    [InlineData("Mail me: jane doe, jane.doe at example dot com", "Mail me: jane doe, [EMAIL]")]
    [InlineData("write to JANE AT MAIL DOT EXAMPLE DOT CO DOT UK!", "write to [EMAIL]!")]
    [InlineData("jane [at] example [dot] org;", "[EMAIL];")]
    [InlineData("jane(at)example.com and more", "[EMAIL] and more")]
    [InlineData("jane.doe {at} mail {dot} example.de", "[EMAIL]")]
    public void Redact_Personal_IsReplaced(string text, string expected) => Assert.Equal(expected, Outcome.Of(Redact, text).Delivered);

    [Theory]
    [InlineData("4111 1111 1111 1112")] // Luhn
    [InlineData("1234567890123456")] // no issuer
    [InlineData("0000 0000 0000 0000")]
    [InlineData("We met at the dot matrix printer and sent mail")]
    [InlineData("shop at example dot com today")] // a shop, no word about mail
    [InlineData("look (at) the dots. contact me at work")]
    [InlineData("8.8.8.8 and 2606:4700::1111")] // only where asked for
    [InlineData("1700000000000000000 ns")]
    [InlineData("order 978-3-16-148410-0, ISBN 9783161484100")]
    [InlineData("ISBN 0-306-40615-2")]
    [InlineData("2024-01-15 12:30:45.123456789")]
    [InlineData("2024.01.15 and 15/01/2024 and 20240115")]
    [InlineData("Version 10.0.19041.1234 and 1.2.3.4 and 192.168.100.200")]
    [InlineData("550e8400-e29b-41d4-a716-446655440000")]
    [InlineData("12345678-1234-4234-8234-123456789012")]
    [InlineData("d41d8cd98f00b204e9800998ecf8427e")]
    [InlineData("5d41402a4111111111111111bc4b2a76")]
    [InlineData("sha256:4111111111111111aaaaaaaaaaaaaaaa")]
    [InlineData("DE89 3704 0044 0532 0130 01")] // MOD 97
    [InlineData("666-12-3456 and 000-12-3456 and 900-12-3456 and 123-00-4567 and 123-45-0000")]
    [InlineData("part ABC-536-90-4399")]
    [InlineData("536-90-4399-2")]
    [InlineData("911-555-2671, 415-111-2671 and 123-456-7890")]
    [InlineData("the sum is 4155552671 units")]
    [InlineData("x = 1 + 12345678")]
    [InlineData("0x4111111111111111")]
    [InlineData("3.14159265358979323846")]
    [InlineData("1,234,567,890,123 and 12 345 678 901 234")]
    [InlineData("git@github.com:owner/repo.git and npm i @scope/pkg@1.2.3 or logo@2x.png")]
    [InlineData("user@localhost and @handle and a@b")]
    [InlineData("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18")]
    [InlineData("matrix[4111][1111][1111][1111]")]
    public void Redact_LookAlike_IsLeft(string text) => Assert.Equal(text, Outcome.Of(Redact, text).Delivered);
}
