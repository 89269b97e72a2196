package walk

import "time"

// memory holds the last state of items, as far back as it has not been told to
// forget.
type memory struct {
	states map[int64]state
	sweep  int // how many states to hold before looking for those that may go
}

type state struct {
	version  uint64
	modified time.Time
}

// leastSweep keeps small memories from being swept all the time.
const leastSweep = 1024

// add remembers an item's state, and reports whether it differs from the one
// remembered before. Only the last state counts: where an item goes from A to B
// and back to A within one instant, the second A is news.
func (m *memory) add(id int64, version uint64, modified time.Time) bool {
	if old, ok := m.states[id]; ok && old.version == version {
		return false
	}
	if m.states == nil {
		m.states = make(map[int64]state)
	}
	m.states[id] = state{version, modified}
	return true
}

// forget allows the states from before a time to go. They go when they may be
// half of all, so that looking for them costs little per state added.
func (m *memory) forget(before time.Time) {
	if len(m.states) < max(m.sweep, leastSweep) {
		return
	}
	for id, s := range m.states {
		if s.modified.Before(before) {
			delete(m.states, id)
		}
	}
	m.sweep = 2 * len(m.states)
}
