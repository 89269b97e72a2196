package walk_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFeedCostUnderChange counts the requests of many histories. A change of
// pass.go that costs more requests, or less, changes these numbers.
func TestFeedCostUnderChange(t *testing.T) {
	t.Parallel()
	want := map[string]int{
		"ignored": 6652, "milliseconds": 21754, "datetime": 21692, "seconds": 21657, "minutes": 22882, "hours": 23997,
		"days": 25871, "local days": 25787,
		"bound taken for a time of -12h0m0s": 6257, "bound taken for a time of 14h0m0s": 6560,
	}
	got := make(map[string]int)
	for _, f := range filters() {
		for seed := range uint64(60) {
			kind, _, _ := strings.Cut(f.name, ",")
			got[kind] += followHistory(t, f, seed)
		}
	}
	require.Len(t, got, len(want))
	for kind, requests := range want { // the order of goroutines changes a few of them
		assert.InEpsilon(t, requests, got[kind], 0.002, kind)
	}
}

// TestListCostUnderChange does the same for lists: for those that change, and
// for servers whose pages do not advance.
func TestListCostUnderChange(t *testing.T) {
	t.Parallel()
	type sums struct{ requests, unstable int }
	want := map[string]sums{
		"Id": {1081, 3}, "CreatedOn": {1081, 3}, "ModifiedOn": {1160, 6}, "FtdDate": {1059, 4},
		"newest first": {876, 1},
		"stuck, by id": {8013, 200}, "stuck, items stay": {8548, 200}, "stuck, items move": {8562, 200},
	}
	got := make(map[string]sums)
	for _, by := range []order{byID, byCreated, byModified, byDeposit, newest} {
		var sum sums
		for seed := range uint64(200) {
			requests, unstable := oneWalk(t, by, seed, false, seed%2 == 0)
			sum.requests += requests
			sum.unstable += unstable
		}
		got[string(by)] = sum
	}
	for _, kind := range kinds {
		var sum sums
		for seed := range uint64(200) {
			requests, unstable := oneStuckWalk(t, kind, seed, false)
			sum.requests += requests
			if unstable {
				sum.unstable++
			}
		}
		got["stuck, "+string(kind)] = sum
	}
	assert.Equal(t, want, got)
}

// followHistory follows a list for some passes, while items are added and
// changed between the passes and between the requests of a pass. It returns the
// number of requests.
func followHistory(t *testing.T, f filter, seed uint64) (requests int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	apart := pick(random, 5*time.Millisecond, 3*time.Second, 10*time.Minute, 20*time.Hour)
	count := pick(random, 2, 3, 10, 100)
	j := journal{items: entries(random.IntN(20*count), apart), filter: &f}
	now, last := epoch().Add(time.Duration(len(j.items))*apart), int64(len(j.items))
	change := func() {
		now = now.Add(time.Duration(random.Int64N(int64(2 * apart))))
		if len(j.items) > 0 && random.IntN(2) == 0 {
			j.move(pick(random, j.items...).ID, now)
			return
		}
		last++
		j.items = append(j.items, item{ID: last, Modified: now})
	}
	j.before = func() error {
		if random.IntN(8) == 0 {
			change()
		}
		j.at = now.Add(time.Millisecond)
		return nil
	}
	feed := j.feed(count)
	some := random.IntN(3) == 0
	feed.Ordered = func(i *item) bool { return !some || i.ID%7 != 0 }
	feed.Overlap = pick(random, 0, time.Second, 3*apart)
	if len(j.items) > 0 && random.IntN(2) == 0 {
		feed.Since = pick(random, j.items...).Modified
	}
	since := feed.Since
	read := make(map[int64]uint64)
	pass := func() {
		_, err := feed.Pass(t.Context(), func(i item, _ time.Time) bool {
			read[i.ID] = i.Version
			return true
		})
		require.NoError(t, err)
	}
	for range 12 {
		for range random.IntN(2 * count) {
			change()
		}
		pass()
	}
	j.before = nil
	pass()
	for _, i := range j.items {
		if feed.Ordered(&i) && !i.Modified.Before(since) {
			require.Equal(t, i.Version, read[i.ID], "item %d of seed %d, %s", i.ID, seed, f.name)
		}
	}
	return len(j.queries)
}
