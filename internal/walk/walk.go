// Package walk reads lists that change while they are read.
//
// A server that is asked to "skip 200" counts its rows at that moment. If one
// of the first 200 rows was deleted after the page before, or was modified and
// so moved to the end, then row 200 is now row 199. No page shows it, so
// reading by offset loses rows silently. This package reads such lists without
// losing any:
//
//   - [List] reads by offset, in any order. The rules are in place.go.
//   - [Feed] reads by position in time, in passes. So it follows what changes
//     in a list.
//
// Both call a fetch function. They do not know HTTP or JSON.
//
// # What is guaranteed
//
// An item that is in a [List] for the whole walk is yielded exactly once,
// whatever is inserted, changed or deleted meanwhile, or the walk ends with
// [ErrUnstable]. This needs three properties of the server. An item moves only
// towards the end of the list. Items of equal rank are in the same order each
// time. If the server limits the length of a page, the limit is ten or more.
// [Feed] says what it guarantees.
//
// # What reading by offset cannot guarantee
//
// A walk is not a snapshot. It may show one item from before a change and
// another item from after it. Items that enter or leave the list meanwhile may
// be yielded or not. An item that moves backwards, because a date was
// withdrawn, may be missed.
package walk

import "errors"

// ErrUnstable is the error of a walk that lost its place in the list and could
// not find it again, or whose pages do not advance. The error that wraps it
// says what happened.
var ErrUnstable = errors.New("the list is unstable")

const (
	// defaultCount is the number of items that a server sends if the request
	// does not say how many.
	defaultCount = 10

	// lowestCap is the smallest limit that a server is assumed to have on the
	// length of a page.
	lowestCap = 10
)

// Last reports whether a page of received items is the last page of the list.
// asked is the number of items that the request asked for. 0 means that the
// request did not say.
//
// A page that is shorter than asked for does not prove that it is the last one.
// The server may have its own limit, or leave out rows after it counted them.
// Only a page below lowestCap is a proof.
func Last(received, asked int) bool {
	if asked == 0 {
		asked = defaultCount
	}
	return received < min(asked, lowestCap)
}
