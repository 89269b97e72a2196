package punycode_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/internal/punycode"
)

func TestDecodeDomain(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, domain, want string }{
		{"ASCII", "example.com", "example.com"},
		{"empty", "", ""},
		{"one label", "xn--mller-kva.example", "müller.example"},
		{"upper case", "XN--MLLER-KVA.EXAMPLE", "MüLLER.EXAMPLE"},
		{"every label", "xn--bcher-kva.xn--p1ai", "bücher.рф"},
		{"without basic characters", "xn--80akhbyknj4f.xn--80akhbyknj4f", "испытание.испытание"},
		{"hyphens among basic characters", "xn--a-b-dma.example", "a-b\u00e9.example"},
		{"one basic character", "xn--a-eha.example", "aü.example"},
		{"the letter z is a digit", "xn--abc-z9b96iqyc.XN--abc-Z9B96IQYC", "abcӬ˪ϑ.abcӬ˪ϑ"},
		{"RFC 3492, a delta of 455", "xn--ab-01a24en1f", "abǃѸɹ"},
		{"already in Unicode", "müller.example", "müller.example"},
		// RFC 3492, section 7.1.
		{"Arabic", "xn--egbpdaj6bu4bxfgehfvwxn", "ليهمابتكلموشعربي؟"},
		{"Chinese", "xn--ihqwcrb4cv8a8dqg056pqjye", "他们为什么不说中文"},
		{
			"Japanese", "xn--n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa",
			"なぜみんな日本語を話してくれないのか",
		},
		{
			"Vietnamese", "xn--TisaohkhngthchnitingVit-kjcr8268qyxafd2f1b9g",
			"TạisaohọkhôngthểchỉnóitiếngViệt",
		},
		{"Japanese with Latin", "xn--3B-ww4c5e180e575a65lsy2b", "3年B組金八先生"},
		{"title", "xn---with-SUPER-MONKEYS-pc58ag80a8qai00g7n9n", "安室奈美恵-with-SUPER-MONKEYS"},
		// Not punycode. The label stays unchanged.
		{"prefix alone", "xn--.example", "xn--.example"},
		{"a hyphen without basic characters", "xn---tda.example", "xn---tda.example"},
		{"ends within a number", "xn--mller-kv.example", "xn--mller-kv.example"},
		{"not a digit", "xn--mller-k_a.example", "xn--mller-k_a.example"},
		{"above the last rune", "xn--99999999.example", "xn--99999999.example"},
		{"a surrogate", "xn--ib9b.example", "xn--ib9b.example"},
		{"too long", "xn--" + strings.Repeat("a", 64), "xn--" + strings.Repeat("a", 64)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, test.want, punycode.DecodeDomain(test.domain))
		})
	}
}

func FuzzDecodeDomain(f *testing.F) {
	for _, seed := range []string{"xn--mller-kva.example", "xn--99999999999", "xn--a-b-dma", "xn---", "xn--\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, domain string) {
		decoded := punycode.DecodeDomain(domain)
		assert.Equal(t, strings.Count(domain, "."), strings.Count(decoded, "."))
	})
}
