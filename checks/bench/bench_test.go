package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testLeads = 2*pageSize + 345

// TestContenders checks that all contenders do the same work: they read all
// fields of all leads, and create the same lead.
func TestContenders(t *testing.T) {
	t.Parallel()
	var want tally
	for _, l := range testList(t) {
		l.show(&want)
	}
	var bodies chan map[string]any
	handler := newHandler(makeLeads(testLeads))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			text, _ := io.ReadAll(r.Body)
			var body map[string]any
			assert.NoError(t, json.Unmarshal(text, &body))
			bodies <- body
			r.Body = io.NopCloser(bytes.NewReader(text))
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	bodies = make(chan map[string]any, 1)
	var first map[string]any
	for name, open := range contenders {
		if name == nativeV2 && !hasJSONv2 {
			continue
		}
		for _, s := range []scenario{
			{leads: testLeads},
			{leads: testLeads, gzip: true},
			{leads: pageSize, delay: time.Millisecond},
		} {
			c, err := open(s.url(server.Listener.Addr().String()))
			require.NoError(t, err, name)
			if c.read != nil {
				var got tally
				require.NoError(t, c.read(t.Context(), &got), name)
				if name != floor && s.leads == testLeads {
					assert.Equal(t, want, got, name)
				}
			}
			if c.create != nil {
				require.NoError(t, c.create(t.Context()), name)
				body := <-bodies
				if first == nil {
					first = body
				}
				assert.Equal(t, first, body, name)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func testList(t *testing.T) (list []handLead) {
	t.Helper()
	text := "[" + string(makeLeads(testLeads).cut(testLeads, 0, testLeads)) + "]"
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	require.Len(t, list, testLeads)
	return list
}

func TestCut(t *testing.T) {
	t.Parallel()
	list := makeLeads(100)
	ids := func(total, skip, count int) (ids []int64) {
		var leads []handLead
		require.NoError(t, json.Unmarshal([]byte("["+string(list.cut(total, skip, count))+"]"), &leads))
		for _, l := range leads {
			ids = append(ids, l.ID-1_000_000)
		}
		return ids
	}
	assert.Equal(t, []int64{0, 1, 2}, ids(100, 0, 3))
	assert.Equal(t, []int64{98, 99}, ids(100, 98, 3))
	assert.Equal(t, []int64{48, 49}, ids(50, 48, 10))
	assert.Empty(t, ids(100, 100, 3))
	assert.Empty(t, ids(0, 0, 3))
}

func TestDo(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newHandler(makeLeads(testLeads)))
	t.Cleanup(server.Close)
	host := server.Listener.Addr().String()
	warm := scenario{leads: 10}.url(host)

	read := job{Client: sdk, URL: scenario{leads: testLeads}.url(host), Warm: warm}
	f, err := read.do(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, testLeads, f.Tally.Leads)
	assert.Positive(t, f.Wall)
	assert.Positive(t, f.CPU)
	assert.Positive(t, f.Allocs)

	read.Memory = true
	f, err = read.do(t.Context())
	require.NoError(t, err)
	assert.Positive(t, f.Heap)
	assert.Positive(t, f.Resident)

	create := job{Client: sdk, URL: warm, Warm: warm, Creates: 20, AtOnce: 4}
	_, err = create.do(t.Context())
	require.NoError(t, err)

	create.URL = "http://" + host + "/elsewhere"
	_, err = create.do(t.Context())
	require.ErrorContains(t, err, "404")

	if !strings.Contains(runtime.Version(), "jsonv2") {
		v2 := job{Client: handWrittenV2}
		_, err = v2.do(t.Context())
		require.ErrorContains(t, err, "built by")
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	m := median([]figures{{Wall: 3, Allocs: 1}, {Wall: 1, Allocs: 2}, {Wall: 2, Allocs: 9}})
	assert.Equal(t, time.Duration(2), m.Wall)
	assert.EqualValues(t, 2, m.Allocs)
}

func TestChart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "docs", "chart.svg")
	require.Error(t, drawChart(file, "title", nil))
	rows := []row{
		{name: sdk, median: figures{Wall: 12 * time.Millisecond}},
		{name: floor, median: figures{Wall: 3 * time.Millisecond}},
	}
	require.NoError(t, drawChart(file, "A title", rows))
	svg, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, text := range []string{"<svg", "A title", sdk, floor, "12 ms"} {
		assert.Contains(t, string(svg), text)
	}
}
