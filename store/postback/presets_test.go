package postback_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go"
	"github.com/clixnow/clixnow-go/store/postback"
)

// TestPresets checks the requests of each preset, and how it reads the answers
// that the tracker documents. docs/postbacks.md names the documents.
func TestPresets(t *testing.T) {
	t.Parallel()
	const id = "(?P<id>[0-9a-f]{32})"
	type answer struct {
		status   int
		body     string
		accepted bool
	}
	common := []answer{{204, "", true}, {200, "anything", true}, {404, "", false}, {500, "OK", false}}
	jsonFailure := answer{200, ` {"success": false}`, false}
	for _, test := range []struct {
		preset, path string
		events       []clixnow.LeadEvent
		// requests are regular expressions of the requests for: created,
		// deposited, deposit withdrawn.
		requests []string
		answers  []answer
	}{
		{
			"", "/p?c={clickId}", nil,
			[]string{`/p\?c=click-1`},
			append(common, jsonFailure, answer{200, "success=false; err_msg=x;", false},
				answer{200, "success=true", true}),
		},
		{
			"keitaro", "/KEY/postback?payout=9",
			[]clixnow.LeadEvent{"created", "deposited", "deposit withdrawn"},
			[]string{
				`/KEY/postback\?payout=9&subid=click-1&status=lead&return=OK`,
				`/KEY/postback\?payout=9&subid=click-1&status=sale&return=OK`,
				`/KEY/postback\?payout=9&subid=click-1&status=rejected&return=OK`,
			},
			[]answer{{200, "OK\n", true}, {200, "", false}, {200, "<html>OK</html>", false}, {404, "OK", false}},
		},
		{"voluum", "", nil, []string{`/postback\?cid=click-1&txid=` + id}, append(common, jsonFailure)},
		{
			"voluum", "/postback?et={event}&payout=5",
			[]clixnow.LeadEvent{"created", "deposited", "deposit withdrawn"},
			[]string{
				`/postback\?et=created&payout=5&cid=click-1&txid=` + id,
				`/postback\?et=deposited&payout=5&cid=click-1&txid=` + id,
				`/postback\?et=deposit%20withdrawn&payout=5&cid=click-1&txid=` + id,
			},
			common,
		},
		{
			"binom", "/",
			[]clixnow.LeadEvent{"created", "deposited", "deposit withdrawn"},
			[]string{
				`/click.php\?cnv_id=click-1&cnv_status=lead`, `/click.php\?cnv_id=click-1&cnv_status=sale`,
				`/click.php\?cnv_id=click-1&cnv_status=rejected`,
			},
			common,
		},
		{
			"binom", "/sub/click.php?cnv_id={clickId}&cnv_status=FTD&payout=100", nil,
			[]string{`/sub/click.php\?cnv_id=click-1&cnv_status=FTD&payout=100`},
			common,
		},
		{
			"redtrack", "?sum=3", nil, []string{`/postback\?sum=3&clickid=click-1&rdtk_event_id=` + id}, common,
		},
		{
			"affise", "",
			[]clixnow.LeadEvent{"created", "deposited", "deposit withdrawn"},
			[]string{
				`/postback\?clickid=click-1&action_id=acme-1&status=2`,
				`/postback\?clickid=click-1&action_id=acme-1&status=1`,
				`/postback\?clickid=click-1&action_id=acme-1&status=3`,
			},
			append(common, answer{200, `{"status":1,"message":"postback accepted"}`, true},
				answer{200, `{"status": 2, "error": "Broken clickid"}`, false}, answer{200, `{"status":"2"}`, false},
				answer{200, `{"status":2,"error":"Conversion exists"}`, true}),
		},
		{
			"tune", "/aff_lsr?offer_id=26&security_token=KEY", nil,
			[]string{`/aff_lsr\?offer_id=26&security_token=KEY&transaction_id=click-1&conversion_unique_id=` + id},
			[]answer{
				{200, "success=true;", true},
				{200, "success=true", true},
				{200, "success=false; err_msg=Invalid Trans. ID #1027c887059b47b.;", false},
				{200, "success=false; err_msg=Duplicate conversion;", true},
				{200, "", false},
				{200, "<html></html>", false},
				{500, "success=true;", false},
			},
		},
	} {
		t.Run(test.preset+test.path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sqliteKind())
			w.setAnswer(func(rw http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(rw, map[string]string{"keitaro": "OK", "tune": "success=true;"}[test.preset])
			})
			d := postback.Destination{
				Name: "a", Preset: test.preset, URL: w.URL + test.path, Events: test.events,
				AllowPrivate: []string{"127.0.0.1"},
			}
			s := w.sender(moment(0), d)
			w.save(lead(1, "New", 0), lead(1, "New", 1, 1), lead(1, "New", 2))
			w.once(s)
			require.Len(t, w.requests, len(test.requests))
			for i, want := range test.requests {
				assert.Equal(t, http.MethodGet, w.requests[i].Method)
				assert.Regexp(t, "^"+want+"$", w.requests[i].RequestURI)
			}
			w.taken("")
			for _, answer := range test.answers {
				sent := w.health(s).Sent
				w.setAnswer(func(rw http.ResponseWriter, _ *http.Request) {
					rw.WriteHeader(answer.status)
					if answer.status != http.StatusNoContent {
						_, _ = io.WriteString(rw, answer.body)
					}
				})
				fresh := lead(100+sent, "New", 2, 2)
				fresh.CreatedOn = moment(-1) // only its deposit is sent
				w.save(fresh)
				s = w.retryNow(d)
				w.once(s)
				accepted := w.health(s).Waiting == 0
				assert.Equal(t, answer.accepted, accepted, "%d %s", answer.status, answer.body)
				w.exec("DELETE FROM postback_queue")
				w.exec("UPDATE postback_destinations SET sent = sent + 1")
			}
		})
	}
}
