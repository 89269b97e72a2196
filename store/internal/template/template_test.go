package template_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/store/internal/template"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	v := template.Values{
		"clickId": "a/b?c=d&e#f%20 +ü", "sub2": "", "status": "..", "keyword": "{clickId}", "placement": ".",
	}
	const escaped = "a%2Fb%3Fc%3Dd%26e%23f%2520%20%2B%C3%BC"
	for _, test := range []struct{ name, url, want string }{
		{"no macro", "https://a.example/p?x=1", "https://a.example/p?x=1"},
		{"query", "https://a.example/?id={clickId}&z=1", "https://a.example/?id=" + escaped + "&z=1"},
		{"path", "https://a.example/p/{clickId}/q", "https://a.example/p/" + escaped + "/q"},
		{"path and query", "https://a.example/{clickId}?{clickId}", "https://a.example/" + escaped + "?" + escaped},
		{"a ? in the query", "https://a.example/?a=?{clickId}", "https://a.example/?a=?" + escaped},
		{"empty value", "https://a.example/p?a={sub2}&b={sub2}", "https://a.example/p?a=&b="},
		{"two macros together", "https://a.example/{sub2}{clickId}", "https://a.example/" + escaped},
		{"a value is not expanded", "https://a.example/?a={keyword}", "https://a.example/?a=%7BclickId%7D"},
		{"dots in the query", "https://a.example/?a={status}", "https://a.example/?a=.."},
		{"dots within a segment", "https://a.example/x{status}", "https://a.example/x.."},
		{"the last letter of ASCII", "https://a.example/~x?a={sub2}", "https://a.example/~x?a="},
		{"port and IPv6", "https://[2001:db8::1]:8443/{sub2}x", "https://[2001:db8::1]:8443/x"},
		{"loopback http", "http://127.0.0.1:8080/?a={sub2}", "http://127.0.0.1:8080/?a="},
		{"escaped brace", "https://a.example/%7Bx%7D", "https://a.example/%7Bx%7D"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			parsed, err := template.Parse(test.url)
			require.NoError(t, err)
			got, err := parsed.Expand(v)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
	for _, raw := range []string{
		"https://a.example/{status}", "https://a.example/x/{status}/y", "https://a.example/{placement}/y",
		"https://a.example/{placement}{placement}", "https://a.example/.{placement}?x=1",
	} {
		t.Run("dot segment "+raw, func(t *testing.T) {
			t.Parallel()
			parsed, err := template.Parse(raw)
			require.NoError(t, err)
			_, err = parsed.Expand(v)
			assert.ErrorIs(t, err, template.ErrDotSegment)
		})
	}
}

func TestTemplateErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, url, problem string }{
		{"unknown macro", "https://a.example/SECRET?a={clickid}", "unknown macro {clickid}; did you mean {clickId}?"},
		{"macro of another tool", "https://a.example/SECRET?a={sub_campaign}", "did you mean {subCampaign}?"},
		{"macro of no tool", "https://a.example/SECRET?a={click}", "unknown macro {click}; the macros are clickId, "},
		{"macro that is no name", "https://a.example/?a={clickId&key=SECRET}", "unknown macro that is no name;"},
		{"long macro", "https://a.example/?a={SECRETSECRETSECRETSECRET}", "unknown macro that is no name;"},
		{"empty macro", "https://a.example/SECRET/{}", "unknown macro that is no name;"},
		{"open brace", "https://a.example/?a={clickId&key=SECRET", "unbalanced"},
		{"open brace at the end", "https://a.example/SECRET{", "unbalanced"},
		{"nested", "https://a.example/{SECRET{clickId}}", "unbalanced"},
		{"closing brace", "https://a.example/SECRET}", "unbalanced"},
		{"two closing braces", "https://a.example/SECRET{clickId}}", "unbalanced"},
		{"macro as scheme", "{clickId}://a.example/SECRET", "must begin with https://"},
		{"macro as host", "https://{clickId}/SECRET", "macros before the path"},
		{"macro in the host", "https://{brand}.example/SECRET", "macros before the path"},
		{"macro at the end of the host", "https://a.example{clickId}", "macros before the path"},
		{"macro as port", "https://a.example:{leadId}/SECRET", "cannot be parsed"},
		{"macro as user", "https://{clickId}@a.example/SECRET", "user name"},
		{"macro as the whole", "{clickId}", "must begin with https://"},
		{"user and password", "https://user:SECRET@a.example/", "user name"},
		{"http", "http://a.example/SECRET", "only a loopback host"},
		{"http to a private address", "http://10.0.0.1/SECRET", "only a loopback host"},
		{"ftp", "ftp://a.example/SECRET", "must begin with https://"},
		{"no scheme", "a.example/SECRET", "must begin with https://"},
		{"no host", "https:///SECRET", "must begin with https://"},
		{"opaque", "https:SECRET", "must begin with https://"},
		{"capital scheme", "HTTPS://a.example/SECRET", "must begin with https://"},
		{"fragment", "https://a.example/#{clickId}SECRET", "fragment"},
		{"space", "https://a.example/?SECRET a", "spaces"},
		{"line break", "https://a.example/\nSECRET", "cannot be parsed"},
		{"not ASCII", "https://a.example/?ü=SECRET", "ASCII"},
		{"bad escape", "https://a.example/%zzSECRET", "cannot be parsed"},
		{"dot segment", "https://a.example/SECRET/../x", `segment "." or ".."`},
		{"empty", "", "the url is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := template.Parse(test.url)
			require.ErrorContains(t, err, test.problem)
			assert.NotContains(t, err.Error(), "SECRET")
		})
	}
}

// FuzzTemplate checks that no value changes the structure of a URL.
func FuzzTemplate(f *testing.F) {
	f.Add("https://a.example/p/{clickId}?a={clickId}&b=1", "x/../?&=#%00")
	f.Add("https://a.example/{clickId}{sub2}", "..")
	f.Add("http://127.0.0.1/a{brand}?{event}={status}", "a b")
	f.Add("https://a.example?{clickId}", "@evil.example/")
	f.Add("https://a.example/?a={clickId}", "a+b c;&=\x80")
	f.Fuzz(func(t *testing.T, raw, value string) {
		parsed, err := template.Parse(raw)
		if err != nil {
			if len(raw) > 20 {
				assert.NotContains(t, err.Error(), raw)
			}
			return
		}
		v := make(template.Values)
		for _, macro := range template.Macros() {
			v[macro] = value
		}
		got, err := parsed.Expand(v)
		if err != nil {
			require.ErrorIs(t, err, template.ErrDotSegment)
			return
		}
		u, err := url.Parse(got)
		require.NoError(t, err, got)
		harmless, err := parsed.Expand(template.Values{})
		if err != nil {
			return // without values the path has a dot segment
		}
		plain, err := url.Parse(harmless)
		require.NoError(t, err)
		assert.Equal(t, plain.Scheme+plain.Host, u.Scheme+u.Host)
		assert.Equal(t, parsed.Origin, u.Scheme+"://"+u.Host)
		assert.Nil(t, u.User)
		assert.Empty(t, u.Fragment)
		assert.Equal(t, strings.Count(plain.EscapedPath(), "/"), strings.Count(u.EscapedPath(), "/"), got)
		assert.Equal(t, strings.Count(plain.RawQuery, "&"), strings.Count(u.RawQuery, "&"), got)
		assert.Equal(t, strings.Count(plain.RawQuery, "="), strings.Count(u.RawQuery, "="), got)
		if strings.HasSuffix(raw, "?a={clickId}") && utf8.ValidString(value) {
			assert.Equal(t, value, u.Query().Get("a"))
		}
	})
}
