package clixnow_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
)

// vendorsLanding is the example of the API reference with its placeholders
// filled in.
const vendorsLanding = "https://landing.com/?a_id=12&c_id=34&f_id=56&subcampaign=subcampaign&sub2=sub_name" +
	"&keyword=test&clickid=1c33d66a941ac90a6&placement=test"

func vendorsVisit() clixnow.LandingURL {
	return clixnow.LandingURL{
		Page: "https://landing.com/", AffiliateID: "12", LandingPageID: "34", FunnelID: "56",
		SubCampaign: "subcampaign", Sub2: "sub_name",
		Keyword: "test", ClickID: "1c33d66a941ac90a6", Placement: "test",
	}
}

func TestLandingURLBuild(t *testing.T) {
	t.Parallel()
	type landing = clixnow.LandingURL
	for name, test := range map[string]struct {
		from landing
		want string
	}{
		"the vendor's example": {vendorsVisit(), vendorsLanding},
		"only a page":          {landing{Page: "https://landing.com"}, "https://landing.com"},
		"empty parameters left out": {
			landing{Page: "https://landing.com/", ClickID: "c"},
			"https://landing.com/?clickid=c",
		},
		"escapes": {
			landing{Page: "https://landing.com/", Keyword: "a b&c=d+e%f#g?é😀"},
			"https://landing.com/?keyword=a+b%26c%3Dd%2Be%25f%23g%3F%C3%A9%F0%9F%98%80",
		},
		"bytes that are not UTF-8": {
			landing{Page: "https://landing.com/", Sub2: "\xe9"},
			"https://landing.com/?sub2=%E9",
		},
		"own query, byte for byte": {landing{
			Page:    "https://landing.com/p%20q;r?x=1%2B2&y=a+b&z&&w=%zz&v=;&X=%e9",
			ClickID: "c",
		}, "https://landing.com/p%20q;r?x=1%2B2&y=a+b&z&&w=%zz&v=;&X=%e9&clickid=c"},
		"own fragment": {
			landing{Page: "https://landing.com/?x=1#top?y", ClickID: "c"},
			"https://landing.com/?x=1&clickid=c#top?y",
		},
		"an empty query": {
			landing{Page: "https://landing.com/?", ClickID: "c"},
			"https://landing.com/?clickid=c",
		},
		"an empty query, and no field": {landing{Page: "https://landing.com/?"}, "https://landing.com/"},
		"a field wins over the page": {landing{
			Page:    "https://landing.com/?clickid=old&x=1&clickid=older&sub2=s",
			ClickID: "c",
		}, "https://landing.com/?x=1&sub2=s&clickid=c"},
		"set only in the page": {
			landing{Page: "https://landing.com/?clickid=old&x=1"},
			"https://landing.com/?clickid=old&x=1",
		},
		"names have one case": {
			landing{Page: "https://landing.com/?ClickID=old", ClickID: "c"},
			"https://landing.com/?ClickID=old&clickid=c",
		},
		"an escaped name is a name": {
			landing{Page: "https://landing.com/?%63lickid=old", ClickID: "c"},
			"https://landing.com/?clickid=c",
		},
		"plain HTTP, port, user": {
			landing{Page: "http://u@landing.com:8080/a/", ClickID: "c"},
			"http://u@landing.com:8080/a/?clickid=c",
		},
		"relative": {landing{Page: "/a?x=1", ClickID: "c"}, "/a?x=1&clickid=c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.from.URL()
			require.NoError(t, err)
			assert.Equal(t, test.want, got.String())
		})
	}
	for name, page := range map[string]string{
		"empty": "", "unparsable": "https://s3cr3t.com/%zz", "port": "https://s3cr3t.com:port/",
		"another scheme": "ftp://s3cr3t.com/",
		"mail":           "mailto:s3cr3t@example.com", "no host": "https:///s3cr3t", "opaque": "https:s3cr3t.com",
		"control character": "https://s3cr3t.com/\n",
	} {
		got, err := clixnow.LandingURL{Page: page, ClickID: "c"}.URL()
		require.Error(t, err, name)
		assert.Nil(t, got)
		assert.NotContains(t, err.Error(), "s3cr3t")
		if page != "" { // "" is a valid relative URL
			_, err = clixnow.ParseLandingURL(page)
			require.Error(t, err, name)
			assert.NotContains(t, err.Error(), "s3cr3t")
		}
	}
}

func TestParseLandingURL(t *testing.T) {
	t.Parallel()
	type landing = clixnow.LandingURL
	for name, test := range map[string]struct {
		raw  string
		want landing
	}{
		"the vendor's example": {vendorsLanding, vendorsVisit()},
		"no parameters":        {"https://landing.com/a", landing{Page: "https://landing.com/a"}},
		"relative": {
			"/a/b?clickid=c&utm_source=x",
			landing{Page: "/a/b?utm_source=x", ClickID: "c"},
		},
		"only a path": {"/?clickid=c", landing{Page: "/", ClickID: "c"}},
		"others stay, byte for byte": {
			"https://landing.com/p%20q?x=1%2B2&clickid=c&y=a+b&z&&w=%zz&v=;",
			landing{Page: "https://landing.com/p%20q?x=1%2B2&y=a+b&z&&w=%zz&v=;", ClickID: "c"},
		},
		"fragment": {
			"https://landing.com/?clickid=c#clickid=d",
			landing{Page: "https://landing.com/#clickid=d", ClickID: "c"},
		},
		"unescapes": {
			"/?keyword=a+b%26c%3Dd%2Be%25f%23g%C3%A9",
			landing{Page: "/", Keyword: "a b&c=d+e%f#gé"},
		},
		"a value with an equals sign":  {"/?sub2=a=b==", landing{Page: "/", Sub2: "a=b=="}},
		"an escaped name":              {"/?%63lickid=c", landing{Page: "/", ClickID: "c"}},
		"another case is another name": {"/?ClickId=c&SUB2=s", landing{Page: "/?ClickId=c&SUB2=s"}},
		"an empty value":               {"/?clickid=&sub2&keyword=k", landing{Page: "/", Keyword: "k"}},
		"repeated: the first":          {"/?clickid=a&clickid=b", landing{Page: "/", ClickID: "a"}},
		"repeated: not an empty one":   {"/?clickid=&clickid=b&clickid=c", landing{Page: "/", ClickID: "b"}},
		"broken escape stays":          {"/?clickid=%zz&sub2=s", landing{Page: "/?clickid=%zz", Sub2: "s"}},
		"broken escape, then a good":   {"/?clickid=%zz&clickid=c", landing{Page: "/?clickid=%zz", ClickID: "c"}},
		"broken escape in a name":      {"/?%zz=1&clickid=c", landing{Page: "/?%zz=1", ClickID: "c"}},
		"cut escape":                   {"/?clickid=abc%4", landing{Page: "/?clickid=abc%4"}},
		"not UTF-8":                    {"/?clickid=%E9", landing{Page: "/", ClickID: "\xe9"}},
		"an empty query":               {"/?", landing{Page: "/"}},
		"backslashes of the reference": {
			`https://landing.com/?a_id=1\&c_id=2`,
			landing{Page: "https://landing.com/", AffiliateID: `1\`, LandingPageID: "2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := clixnow.ParseLandingURL(test.raw)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
			built, err := got.URL()
			require.NoError(t, err)
			again, err := clixnow.ParseLandingURL(built.String())
			require.NoError(t, err)
			// URL drops the broken parameter if a good one is set.
			if !strings.Contains(name, "then a good") {
				assert.Equal(t, got, again)
			}
		})
	}
}

func TestLandingURLApply(t *testing.T) {
	t.Parallel()
	type (
		landing = clixnow.LandingURL
		lead    = clixnow.CreateLeadRequest
	)
	for name, test := range map[string]struct {
		visit string
		into  lead
		want  lead
	}{
		"the vendor's example": {vendorsLanding, lead{}, lead{
			ReferralURL: vendorsLanding, SubCampaign: "subcampaign", Sub2: "sub_name", Keyword: "test",
			ClickID: "1c33d66a941ac90a6", Placement: "test",
		}},
		"fields that are set stay": {
			vendorsLanding,
			lead{ReferralURL: "https://a.example", ClickID: "mine", Placement: "p"},
			lead{
				ReferralURL: "https://a.example", SubCampaign: "subcampaign", Sub2: "sub_name", Keyword: "test",
				ClickID: "mine", Placement: "p",
			},
		},
		"relative, as a handler's": {"/?clickid=c", lead{}, lead{ClickID: "c"}},
		"without a scheme":         {"//landing.com/?clickid=c", lead{}, lead{ClickID: "c"}},
		"nothing":                  {"/", lead{}, lead{}},
		"other parameters and a fragment": {
			"https://landing.com/?utm=x&clickid=c#f",
			lead{},
			lead{ReferralURL: "https://landing.com/?utm=x&clickid=c#f", ClickID: "c"},
		},
		"not UTF-8": {
			"https://landing.com/?clickid=%E9&sub2=s",
			lead{},
			lead{ReferralURL: "https://landing.com/?sub2=s&clickid=%E9", Sub2: "s"},
		},
		"macros": {
			"https://landing.com/?clickid={clickid}&sub2=%7B%7Bad.id%7D%7D&keyword=%257Bkeyword%257D&placement=p",
			lead{},
			lead{
				ReferralURL: "https://landing.com/?sub2=%7B%7Bad.id%7D%7D&keyword=%257Bkeyword%257D" +
					"&clickid=%7Bclickid%7D&placement=p",
				Placement: "p",
			},
		},
		"more macros, relative": {
			"/?clickid=${CLICK_ID}&sub2=[sub]&keyword=%3Ckeyword%3E&placement=%23%23p%23%23&subcampaign=__NAME__",
			lead{},
			lead{},
		},
		"a macro does not replace a value": {"/?clickid={clickid}", lead{ClickID: "mine"}, lead{ClickID: "mine"}},
		"half a macro is a value": {
			"/?clickid={clickid&sub2=a{b}",
			lead{},
			lead{ClickID: "{clickid", Sub2: "a{b}"},
		},
		"relative keeps the referral": {
			"/?clickid=c",
			lead{ReferralURL: "https://a.example"},
			lead{ReferralURL: "https://a.example", ClickID: "c"},
		},
		"not UTF-8, relative": {"/?clickid=%E9&sub2=%ff&keyword=k", lead{}, lead{Keyword: "k"}},
		"broken escape": {
			"https://landing.com/?clickid=%zz&sub2=s",
			lead{},
			lead{ReferralURL: "https://landing.com/?clickid=%zz&sub2=s", Sub2: "s"},
		},
		"raw bytes in the address": {"https://landing.com/?utm=\xe9&clickid=c", lead{}, lead{ClickID: "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			visit, err := clixnow.ParseLandingURL(test.visit)
			require.NoError(t, err)
			got := test.into
			visit.Apply(&got)
			assert.Equal(t, test.want, got)
			req := mandatoryLead()
			visit.Apply(&req)
			require.NoError(t, req.Validate())
		})
	}
	t.Run("pages that are not URLs", func(t *testing.T) {
		t.Parallel()
		for _, page := range []string{
			"", "%zz", "ftp://landing.com/", "mailto:a@example.com", "https://",
			"https:landing.com", "https://landing.com/\xff", "https://[::1",
		} {
			req := mandatoryLead()
			landing{Page: page, ClickID: "c", Sub2: "\xff"}.Apply(&req)
			require.NoError(t, req.Validate(), page)
			assert.Equal(t, "c", req.ClickID)
			assert.Empty(t, req.Sub2)
		}
	})
}

// The r.URL of a handler is relative.
func TestLandingURLOfAHandler(t *testing.T) {
	t.Parallel()
	const target = "/signup?clickid=1c33&subcampaign=spring+sale&lang=en"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, http.NoBody)
	require.NoError(t, err)
	visit, err := clixnow.ParseLandingURL(r.URL.String())
	require.NoError(t, err)
	assert.Equal(t, clixnow.LandingURL{Page: "/signup?lang=en", ClickID: "1c33", SubCampaign: "spring sale"}, visit)
	req := mandatoryLead()
	visit.Apply(&req)
	assert.Empty(t, req.ReferralURL)
	assert.Equal(t, "spring sale", req.SubCampaign)
}

func withoutEmptyPairs(u url.URL) string {
	u.RawQuery = strings.Join(strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' }), "&")
	return u.String()
}

func FuzzParseLandingURL(f *testing.F) {
	for _, seed := range []string{
		vendorsLanding, "", "/", "?", "#", "?clickid=c", "/?clickid=%E9", "/?clickid=%zz&clickid=a",
		"/?clickid=&clickid=b&&x;y", "//landing.com?sub2=s",
		"https://u:p@landing.com:8443/a%2Fb/?x=%zz&keyword=a+b%26#f%20g", "https://[::1%25eth0]/?a_id=1", "a:b",
		"./a:b?clickid=c", "////x", "https:x",
		"/?%63lickid=c", "?clickid=%&clickid=0", "0?clickid=%&&clickid=0", "/?clickid=\xff", "\x00",
		"https://landing.com/\xff?f_id=1", "*", "/..//a?placement==", "HTTP://LANDING.com?c_id=1#",
		"https://%41.com/", "//[::%25\xc5]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		visit, err := clixnow.ParseLandingURL(raw)
		if err != nil {
			return
		}
		req := mandatoryLead()
		visit.Apply(&req)
		require.NoError(t, req.Validate(), "Apply sets nothing that Validate refuses")
		built, err := visit.URL()
		// net/url writes zones of IPv6 addresses that it cannot parse.
		if _, cannot := url.Parse(visit.Page); cannot != nil || visit.Page == "" {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		again, err := clixnow.ParseLandingURL(built.String())
		require.NoError(t, err)
		if again.Page == "" { // only a query, with our parameters only
			return
		}
		rebuilt, err := again.URL()
		require.NoError(t, err)
		// URL drops an empty pair that is alone.
		assert.Equal(t, withoutEmptyPairs(*built), withoutEmptyPairs(*rebuilt))
		assert.Equal(t, visit.ClickID, built.Query().Get("clickid"), "net/url reads the same")
		visit.Page, again.Page = "", "" // URL drops a broken parameter if a field sets it
		assert.Equal(t, visit, again)
	})
}
