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

// item is what the models' servers answer with.
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

const (
	byID       order = "Id"
	byCreated  order = "CreatedOn"
	byModified order = "ModifiedOn"
	byDeposit  order = "FtdDate"
	newest     order = "newest first" // what a server may do that does not know how to order by id
)

// row is a row of a table. Rows of equal dates are in order of ids, rows
// without a deposit in front.
type row struct {
	id                           int64
	created, modified, deposited time.Time
	content                      int
}

// table is a model of a server's table that is changed while it is read.
type table struct {
	mu    sync.Mutex
	rand  *rand.Rand
	rows  []*row
	order order
	keeps func(*row) bool // the filter of the request
	limit int             // the server's own cap on a page; 0: none
	now   time.Time
	pace  time.Duration // longest time between two changes
	grain time.Duration // of the dates as stored
	print time.Duration // of the dates as answered
	busy  int           // most changes before or after one answer
	left  int           // changes to come: a list that grows faster than it is read has no end
	ops   []change      // what changes are made of
	seed  maphash.Seed

	nextID  int64
	sent    int            // answers so far
	lastID  int64          // the last item of the last answer
	staying map[int64]bool // what has been in the result since the first answer, beyond its skip
}

type change func(*table)

func newTable(random *rand.Rand, by order) *table {
	t := &table{
		rand: random, order: by, seed: maphash.MakeSeed(), nextID: 1,
		now:  time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		pace: pick(random, 2*time.Millisecond, 100*time.Millisecond, 2*time.Second),
		busy: pick(random, 0, 1, 3, 8),
		left: 300,
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

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// filter makes up a filter with a bound somewhere in the middle of what there
// is.
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

// rewrite changes the content, possibly back to what it was before, where no
// answer could hide that.
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

// removeLast removes what the walk is going to look for.
func (t *table) removeLast() { t.removeID(t.lastID) }

func (t *table) removeID(id int64) {
	t.rows = slices.DeleteFunc(t.rows, func(r *row) bool { return r.id == id })
	delete(t.staying, id)
}

// churn makes some changes, and sees which rows leave the result.
func (t *table) churn() {
	for range min(t.left, t.rand.IntN(t.busy+1)) {
		t.left--
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
	rows = rows[min(skip, len(rows)):]
	if t.sent++; t.sent == 1 {
		t.staying = make(map[int64]bool)
		for _, r := range rows {
			t.staying[r.id] = true
		}
	}
	if t.limit > 0 {
		count = min(count, t.limit)
	}
	var items []item
	for _, r := range rows[:min(count, len(rows))] {
		items = append(items, t.item(r))
		t.lastID = r.id
	}
	return items
}

func (t *table) item(r *row) item {
	modified := r.modified.Truncate(t.print)
	version := maphash.Comparable(t.seed,
		[3]int64{modified.UnixNano(), r.deposited.Truncate(t.print).UnixNano(), int64(r.content)})
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

// list is the request for the table.
func (t *table) list(count int) walk.List[item] {
	l := walk.List[item]{Fetch: t.fetch, ID: itemID, ByID: t.order == byID || t.order == newest, Count: count}
	if t.order == byModified || t.order == byDeposit {
		l.Version = itemVersion
	}
	return l
}
