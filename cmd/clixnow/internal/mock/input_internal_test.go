package mock

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clixnow/clixnow-go/clixnowtest"
)

func TestParseFault(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text  string
		fault clixnowtest.Fault
		// format is the result of formatFault. "" means text.
		format string
	}{
		{"POST times=2 status=503", clixnowtest.Fault{Method: "POST", Times: 2, Status: 503}, ""},
		{"\t status=503\n  POST ", clixnowtest.Fault{Method: "POST", Status: 503}, "POST times=1 status=503"},
		{"GET times=3", clixnowtest.Fault{Method: "GET", Times: 3}, ""},
		{
			"times=1 handle-first delay=1m30s status=502",
			clixnowtest.Fault{Times: 1, HandleFirst: true, Delay: 90 * time.Second, Status: 502},
			"",
		},
		{"times=1 drop=before-handling", clixnowtest.Fault{Times: 1, Drop: clixnowtest.DropBeforeHandling}, ""},
		{"times=1 drop=after-handling", clixnowtest.Fault{Times: 1, Drop: clixnowtest.DropAfterHandling}, ""},
		{"times=1 drop=mid-body", clixnowtest.Fault{Times: 1, Drop: clixnowtest.DropMidBody}, ""},
		{
			"times=1 status=429 header=Retry-After:5",
			clixnowtest.Fault{Times: 1, Status: 429, Header: http.Header{"Retry-After": {"5"}}},
			"",
		},
		{
			"header=b:1 header=a:2 header=a: status=200",
			clixnowtest.Fault{Status: 200, Header: http.Header{"A": {"2", ""}, "B": {"1"}}},
			"times=1 status=200 header=A:2 header=A: header=B:1",
		},
		{
			`times=1 status=400 body={"a": "b  c"}  status=1`,
			clixnowtest.Fault{Times: 1, Status: 400, Body: `{"a": "b  c"}  status=1`},
			"",
		},
		{"status=400 body=", clixnowtest.Fault{Status: 400}, "times=1 status=400"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			t.Parallel()
			fault, err := parseFault(test.text)
			require.NoError(t, err)
			assert.Equal(t, test.fault, fault)
			if test.format == "" {
				test.format = test.text
			}
			assert.Equal(t, test.format, formatFault(fault))
		})
	}
}

func TestParseFaultRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", "the fault is empty"},
		{" \t", "the fault is empty"},
		{"503", `unknown word "503": the words are GET, POST,`},
		{"post", `unknown word "post"`},
		{"GET=1", `unknown word "GET=1"`},
		{"handle-first=true", `unknown word "handle-first=true"`},
		{"status", `unknown word "status"`},
		{"GET POST", "GET and POST are both given"},
		{"status=500 status=501", "status= is given twice"},
		{"status=199", "from 200 to 999"},
		{"status=1000", "from 200 to 999"},
		{"status=", "from 200 to 999"},
		{"times=0", "a number of at least 1"},
		{"times=two", "a number of at least 1"},
		{"delay=2", "have a unit"},
		{"delay=-2s", "at most 10m"},
		{"delay=0s", "at most 10m"},
		{"delay=11m", "at most 10m"},
		{"drop=", "before-handling, after-handling or mid-body"},
		{"drop=always", "before-handling, after-handling or mid-body"},
		{"status=503 header=Retry-After", "a name and a colon"},
		{"status=503 header=:5", "a name and a colon"},
		{"header=Retry-After:5", "need a response: add status="},
		{"body=x", "need a response: add status="},
		{"status=503 drop=mid-body", "a connection that is cut has no status"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			t.Parallel()
			_, err := parseFault(test.text)
			require.ErrorContains(t, err, test.want)
		})
	}
}

// FuzzParseFault checks that a fault that parseFault accepts can be injected,
// and that formatFault returns a text that parseFault reads as the same fault.
func FuzzParseFault(f *testing.F) {
	for _, text := range []string{
		"POST times=2 status=503 handle-first delay=2s", "GET drop=mid-body",
		"status=429 header=Retry-After:5 header=a:=b body= x y ", "times=1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := parseFault(text)
		if err != nil {
			return
		}
		clixnowtest.NewHandler().Inject(fault)
		formatted := formatFault(fault)
		parsed, err := parseFault(formatted)
		require.NoError(t, err, formatted)
		fault.Times = max(1, fault.Times)
		assert.Equal(t, fault, parsed)
		assert.Equal(t, formatted, formatFault(parsed))
	})
}
