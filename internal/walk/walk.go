// Package walk reads lists that move while they are read.
//
// A server that is asked to "skip 200" answers by where its rows stand at that
// moment. Where a row of the first 200 was deleted since the page before, or
// was modified and so moved to the end, the row that stood at 200 now stands at
// 199, and no page shows it: reading by offset loses rows silently. This
// package reads such lists without losing any:
//
//   - [List] reads by offset, in any order. place.go has the rules by which it keeps its place.
//   - [Feed] reads by position in time, pass after pass, and so follows what changes in a list.
//
// Both work over a fetch function, and know neither HTTP nor JSON.
//
// # What is guaranteed
//
// An item that is in a [List] for the whole walk is yielded exactly once,
// whatever is inserted, changed or deleted meanwhile, or the walk ends with
// [ErrUnstable]. Three things are asked of the server: an item moves only
// towards the end of the list; items of equal rank stand in the same order each
// time; a cap of its own on the length of a page is not below ten. What a
// [Feed] guarantees is said there.
//
// # What reading by offset cannot give
//
// A walk is no snapshot: it may show one item from before a change, and another
// from after it. Items that enter or leave the list meanwhile may be yielded or
// not. An item that moves backwards, because a date was withdrawn, may be
// missed.
package walk

import "errors"

// ErrUnstable is the error of a walk that lost its place in the list and could
// not find it again, or whose pages do not advance. It comes wrapped with what
// happened.
var ErrUnstable = errors.New("the list is unstable")

const (
	defaultCount = 10 // items that a server sends when it is not told how many
	lowestCap    = 10 // no server is thought to cap its pages below this
)

// Last reports whether a page of received items ends the list, where asked
// items were asked for (0: none were named).
//
// A page shorter than asked for proves nothing by itself: the server may have a
// cap of its own, or leave rows out after counting them. Only a page below the
// lowest cap does.
func Last(received, asked int) bool {
	if asked == 0 {
		asked = defaultCount
	}
	return received < min(asked, lowestCap)
}
