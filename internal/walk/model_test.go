package walk_test

import (
	"cmp"
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/clixnow/clixnow-go/internal/walk"
)

// item is an item of a list that a model of a server answers with.
type item struct {
	ID       int64
	Version  uint64
	Modified time.Time
}

func itemID(i *item) int64           { return i.ID }
func itemVersion(i *item) uint64     { return i.Version }
func itemModified(i *item) time.Time { return i.Modified }

// order is what a table is sorted by.
type order string

// The orders of a table. newest is the order of a server that cannot order by
// id.

const (
	byID       order = "Id"
	byCreated  order = "CreatedOn"
	byModified order = "ModifiedOn"
	byDeposit  order = "FtdDate"
	newest     order = "newest first"
)

// row is a row of a table. Rows of equal dates are in order of ids. Rows
// without a deposit come first.
type row struct {
	id                           int64
	created, modified, deposited time.Time
	content                      int
}

// table is a model of a server's table that changes while it is read.
type table struct {
	mu    sync.Mutex
	rand  *rand.Rand
	rows  []*row
	order order
	// keeps is the filter of the request.
	keeps func(*row) bool
	// limit is the server's own limit on the length of a page. 0 means none.
	limit int
	// copies returns how often the server shows a row in a row.
	copies func(id int64) int
	// copiesAfterCut reports that the server copies rows after it has cut the
	// page.
	copiesAfterCut bool
	now            time.Time
	// pace is the longest time between two changes.
	pace time.Duration
	// grain is the precision of stored dates, and print that of shown dates.
	grain, print time.Duration
	// busy is the largest number of changes before or after one answer.
	busy int
	// remaining is the number of changes that may still come. A list that grows
	// faster than it is read has no end.
	remaining int
	ops       []change
	seed      maphash.Seed

	nextID int64
	// sent is the number of answers.
	sent int
	// lastID is the id of the last item of the last answer.
	lastID int64
	// staying holds the ids that have been in the result since the first
	// answer, without those that the request skips.
	staying map[int64]bool
}

type change func(*table)

func newTable(random *rand.Rand, by order) *table {
	t := &table{
		rand: random, order: by, seed: maphash.MakeSeed(), nextID: 1,
		now:       time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		pace:      pick(random, 2*time.Millisecond, 100*time.Millisecond, 2*time.Second),
		busy:      pick(random, 0, 1, 3, 8),
		remaining: 300,
		copies:    pick(random, once, once, once, oftenTwice, oftenThrice),

		copiesAfterCut: random.IntN(2) == 0,
	}
	t.grain = pick(random, time.Millisecond, time.Second)
	t.print = max(t.grain, pick(random, time.Millisecond, time.Second))
	if random.IntN(2) == 0 {
		t.limit = 10 + random.IntN(15)
	}
	for range pick(random, random.IntN(12), random.IntN(60), random.IntN(150)) {
		t.insert()
		if random.IntN(3) == 0 {
			t.modify()
		}
		if random.IntN(3) == 0 {
			t.deposit()
		}
	}
	t.ops = []change{
		(*table).insert, (*table).modify, (*table).deposit, (*table).remove, (*table).removeLast,
		(*table).touch,
	}
	random.Shuffle(len(t.ops), func(i, j int) { t.ops[i], t.ops[j] = t.ops[j], t.ops[i] })
	t.ops = t.ops[:1+random.IntN(len(t.ops))]
	t.keeps = t.filter()
	return t
}

func once(int64) int { return 1 }

func oftenTwice(id int64) int { return 1 + int(id%4/3) }

func oftenThrice(id int64) int { return 1 + 2*int(id%3/2) }

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// filter returns a random filter. Its bound is the date of a random row.
func (t *table) filter() func(*row) bool {
	if len(t.rows) == 0 {
		return func(*row) bool { return true }
	}
	middle := t.rows[t.rand.IntN(len(t.rows))]
	created, modified := middle.created, middle.modified
	return pick(t.rand,
		func(*row) bool { return true },
		func(r *row) bool { return !r.created.Before(created) },
		func(r *row) bool { return !r.created.After(created) },
		func(r *row) bool { return !r.modified.Before(modified) },
		func(r *row) bool { return !r.modified.After(modified) },
		func(r *row) bool { return r.deposited.After(created) },
		func(r *row) bool { return !r.deposited.IsZero() && r.deposited.Before(modified) },
	)
}

func (t *table) tick() time.Time {
	t.now = t.now.Add(time.Duration(t.rand.Int64N(int64(t.pace))))
	return t.now.Truncate(t.grain)
}

func (t *table) insert() {
	now := t.tick()
	t.rows = append(t.rows, &row{id: t.nextID, created: now, modified: now})
	t.nextID += 1 + t.rand.Int64N(3)
}

func (t *table) some() *row {
	if len(t.rows) == 0 {
		return &row{}
	}
	return t.rows[t.rand.IntN(len(t.rows))]
}

func (t *table) modify() {
	r := t.some()
	r.modified = t.tick()
	t.rewrite(r)
}

// rewrite changes the content. If dates are shown as precisely as they are
// stored, it may change the content back to what it was before.
func (t *table) rewrite(r *row) {
	if t.print == t.grain {
		r.content = t.rand.IntN(2)
	} else {
		r.content++
	}
}

func (t *table) touch() { t.rewrite(t.some()) }

func (t *table) deposit() {
	r := t.some()
	r.deposited = t.tick()
	r.modified = r.deposited
	t.rewrite(r)
}

func (t *table) remove() { t.removeID(t.some().id) }

// removeLast removes the row that the walk will look for.
func (t *table) removeLast() { t.removeID(t.lastID) }

func (t *table) removeID(id int64) {
	t.rows = slices.DeleteFunc(t.rows, func(r *row) bool { return r.id == id })
	delete(t.staying, id)
}

// churn makes some changes, and notes which rows leave the result.
func (t *table) churn() {
	for range min(t.remaining, t.rand.IntN(t.busy+1)) {
		t.remaining--
		pick(t.rand, t.ops...)(t)
		for _, r := range t.rows {
			if !t.keeps(r) {
				delete(t.staying, r.id)
			}
		}
	}
}

func (t *table) compare(a, b *row) int {
	by := 0
	switch t.order {
	case byID:
	case byCreated:
		by = a.created.Compare(b.created)
	case byModified:
		by = a.modified.Compare(b.modified)
	case byDeposit:
		by = a.deposited.Compare(b.deposited)
	case newest:
		by = cmp.Compare(b.id, a.id)
	}
	return cmp.Or(by, cmp.Compare(a.id, b.id))
}

func (t *table) result() []*row {
	var rows []*row
	for _, r := range t.rows {
		if t.keeps(r) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, t.compare)
	return rows
}

func (t *table) answer(skip, count int) []item {
	rows := t.result()
	if t.sent++; t.sent == 1 {
		t.staying = make(map[int64]bool)
		for _, r := range t.cut(rows, skip, len(rows)*3) {
			t.staying[r.id] = true
		}
	}
	if t.limit > 0 {
		count = min(count, t.limit)
	}
	var items []item
	var before *row
	for _, r := range t.cut(rows, skip, count) {
		copied := 0
		if r == before {
			copied = 1
		}
		items = append(items, t.item(r, copied))
		t.lastID, before = r.id, r
	}
	return items
}

// cut returns the rows of a page, with copies.
func (t *table) cut(rows []*row, skip, count int) []*row {
	if !t.copiesAfterCut {
		rows = t.withCopies(rows)
	}
	rows = rows[min(skip, len(rows)):]
	rows = rows[:min(count, len(rows))]
	if t.copiesAfterCut {
		rows = t.withCopies(rows)
	}
	return rows
}

func (t *table) withCopies(rows []*row) (all []*row) {
	for _, r := range rows {
		for range t.copies(r.id) {
			all = append(all, r)
		}
	}
	return all
}

// item returns a row as the server shows it. Copies of a row may differ.
func (t *table) item(r *row, copied int) item {
	modified := r.modified.Truncate(t.print)
	version := maphash.Comparable(t.seed,
		[4]int64{modified.UnixNano(), r.deposited.Truncate(t.print).UnixNano(), int64(r.content), int64(copied)})
	return item{r.id, version, modified}
}

// fetch answers while others write.
func (t *table) fetch(ctx context.Context, skip, count int, room []item) ([]item, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.churn()
	items := t.answer(skip, count)
	t.churn()
	return append(room, items...), ctx.Err()
}

// list returns the list that a walk reads.
func (t *table) list(count int) walk.List[item] {
	l := walk.List[item]{Fetch: t.fetch, ID: itemID, ByID: t.order == byID || t.order == newest, Count: count}
	if t.order == byModified || t.order == byDeposit {
		l.Version = itemVersion
	}
	return l
}
