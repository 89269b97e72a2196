package walk

import "time"

// memory holds the last state of items. It holds all of them that were modified
// at or after the last time given to forget.
type memory struct {
	states map[int64]state
	// sweep is the number of states from which on forget looks for old ones.
	sweep int
}

// state is the state of an item.
type state struct {
	version  uint64
	modified time.Time
	// ordered reports that the item stands in the list by its modification.
	ordered bool
	// pass is the number of the last pass that read the item.
	pass int
}

// minSweep is the size up to which a memory is not searched for old states.
const minSweep = 1024

// add remembers the state of an item that a pass has read. It reports whether
// the version differs from the one that was remembered before. Only the last
// version counts: if an item goes from A to B and back to A within one instant,
// the second A is new.
func (m *memory) add(e entry, pass int) bool {
	if m.states == nil {
		m.states = make(map[int64]state)
	}
	old, known := m.states[e.id]
	m.states[e.id] = state{e.version, e.modified, e.ordered, pass}
	return !known || old.version != e.version
}

// latest returns the item in order that was modified last, at or before t. ok
// is false if there is none.
func (m *memory) latest(t time.Time) (item mark, modified time.Time, ok bool) {
	for id, s := range m.states {
		if s.ordered && !s.modified.After(t) && (!ok || s.modified.After(modified)) {
			item, modified, ok = mark{id, s.version}, s.modified, true
		}
	}
	return item, modified, ok
}

// forget drops the states from before t, except that of the item in order that
// was modified last until t: the next pass begins at it. It drops them only if
// they may be half of all states, so that a state costs little to drop.
func (m *memory) forget(t time.Time) {
	if len(m.states) < max(m.sweep, minSweep) {
		return
	}
	kept, _, _ := m.latest(t)
	for id, s := range m.states {
		if s.modified.Before(t) && id != kept.id {
			delete(m.states, id)
		}
	}
	m.sweep = 2 * len(m.states)
}
